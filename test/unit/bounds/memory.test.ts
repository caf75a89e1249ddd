import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { gatewayMemory, heapFlags } from "../../../gateway/common/gateway-memory.ts";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";
import { MemoryBudget, MemoryTaken } from "../../../gateway/server/bounds/memory.ts";
import { gatewayDescription } from "../../../infra/services/description.ts";

afterEach(() => {
  vi.useRealTimers();
});

const [alice, bob] = [
  { key: "alice", shared: false },
  { key: "bob", shared: false },
];
const key = { key: "key", shared: true };

describe("a budget", () => {
  it("gives what is there, once, and takes it back", () => {
    const budget = new MemoryBudget(100);
    const a = budget.take(60, key);
    expect(budget.take(41, alice)).toBeNull();
    expect(a?.grow(15)).toBe(true);
    expect(a?.grow(1)).toBe(false);
    a?.shrink(30);
    expect(budget.held).toBe(45);
    a?.release();
    a?.release();
    expect(budget.held).toBe(0);
  });

  it("leaves to others what one holder may not have", () => {
    const budget = new MemoryBudget(100);
    expect(budget.take(30, alice)).not.toBeNull();
    expect(budget.take(21, alice)).toBeNull();
    expect(budget.take(20, alice)).not.toBeNull();
    expect(budget.take(50, bob)).not.toBeNull();
    expect(budget.take(1, key)).toBeNull();
  });

  it("serves who waits in their order, and nobody before them but for those who have their share", async () => {
    const budget = new MemoryBudget(100);
    const [held, more] = [budget.take(50, alice), budget.take(50, bob)];
    const order: string[] = [];
    const wait = (name: string, bytes: number, holder: typeof alice) =>
      budget.wait(bytes, holder, 60_000).then(() => order.push(name));
    const waiting = [wait("alice", 10, alice), wait("key", 50, key), wait("small", 1, key)];
    more?.shrink(20);
    await Promise.resolve();
    expect(order).toEqual([]);
    more?.release();
    await waiting[1];
    expect(order).toEqual(["key"]);
    held?.release();
    await Promise.all(waiting);
    expect(order).toEqual(["key", "alice", "small"]);
  });

  it("says so when nothing came free in time, and lets the next one in", async () => {
    vi.useFakeTimers();
    const budget = new MemoryBudget(10);
    budget.take(5, alice);
    const waiting = expect(budget.wait(7, key, 1000)).rejects.toThrow(MemoryTaken);
    const behind = budget.wait(3, bob, 60_000);
    await vi.advanceTimersByTimeAsync(1000);
    await waiting;
    expect(await behind).toBeDefined();
    expect(budget.held).toBe(8);
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
      command: [
        "--max-old-space-size=1536",
        "--max-semi-space-size=16",
        "--initial-old-space-size=128",
        expect.any(String),
      ],
    });
    const command = /^CMD (.*)$/m.exec(readFileSync("gateway/image/Dockerfile", "utf8"))?.[1] ?? "";
    expect(JSON.parse(command)).toEqual([...flags, "gateway/server/main.ts"]);
  });
});
