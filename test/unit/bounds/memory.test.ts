import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { gatewayMemory, heapFlags } from "../../../gateway/common/gateway-memory.ts";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";
import { MemoryBudget, MemoryTaken } from "../../../gateway/server/bounds/memory.ts";
import { gatewayDescription } from "../../../infra/services/description.ts";

afterEach(() => {
  vi.useRealTimers();
});

describe("a budget", () => {
  it("gives what is there, once, and takes it back", () => {
    const budget = new MemoryBudget({ bytes: 100 });
    const a = budget.take(60, "a");
    expect(budget.take(41, "b")).toBeNull();
    expect(a?.grow(40)).toBe(true);
    expect(a?.grow(1)).toBe(false);
    a?.shrink(30);
    expect(budget.held).toBe(70);
    a?.release();
    a?.release();
    expect(budget.held).toBe(0);
  });

  it("leaves to others what one holder may not have", () => {
    const budget = new MemoryBudget({ bytes: 100, share: 0.5 });
    expect(budget.take(50, "a")).not.toBeNull();
    expect(budget.take(1, "a")).toBeNull();
    expect(budget.take(50, "b")).not.toBeNull();
  });

  it("serves who waits in their order, and nobody before them", async () => {
    const budget = new MemoryBudget({ bytes: 100 });
    const all = budget.take(100, "a");
    const order: string[] = [];
    const wait = async (name: string, bytes: number) => {
      const hold = await budget.wait(bytes, name, 60_000);
      order.push(name);
      return hold;
    };
    const waiting = [wait("large", 90), wait("small", 5)];
    all?.shrink(50);
    await Promise.resolve();
    expect(order).toEqual([]);
    all?.release();
    await Promise.all(waiting);
    expect(order).toEqual(["large", "small"]);
    expect(budget.held).toBe(95);
  });

  it("says so when nothing came free in time", async () => {
    vi.useFakeTimers();
    const budget = new MemoryBudget({ bytes: 1 });
    budget.take(1, "a");
    const waiting = expect(budget.wait(1, "b", 1000)).rejects.toThrow(MemoryTaken);
    await vi.advanceTimersByTimeAsync(1000);
    await waiting;
  });
});

describe("the gateway's memory", () => {
  const { schema, fallback } = SETTINGS.KERNELYARD_GATEWAY_MEMORY;
  const total = schema.parse(fallback);

  it.each(["512m", fallback, "8g"])("is not promised twice (%s)", (size) => {
    const bytes = schema.parse(size);
    const { heapMib, jsonHeapMib, requestBytes, transferBytes, totalMib } = gatewayMemory(bytes);
    const mib = 1024 * 1024;
    const parts = (heapMib + jsonHeapMib) * mib + requestBytes + transferBytes;
    expect(totalMib * mib).toBe(bytes);
    // The program, the young generations, sockets.
    expect(bytes - parts).toBeGreaterThanOrEqual(bytes * 0.15);
  });

  it("is the container's limit and Node's heap, wherever it is started", () => {
    const flags = heapFlags(gatewayMemory(total));
    const paths = { data: "/var/lib/kernelyard", dockerSocket: "/var/run/docker.sock" };
    const described = gatewayDescription(paths, 300_000);
    expect(described).toMatchObject({ memoryMib: 1024, command: [...flags, "gateway/server/main.ts"] });
    const larger = gatewayDescription(paths, 300_000, 4 * total);
    expect(larger).toMatchObject({
      memoryMib: 4096,
      command: ["--max-old-space-size=1536", expect.any(String)],
    });
    const command = /^CMD (.*)$/m.exec(readFileSync("gateway/image/Dockerfile", "utf8"))?.[1] ?? "";
    expect(JSON.parse(command)).toEqual([...flags, "gateway/server/main.ts"]);
  });
});
