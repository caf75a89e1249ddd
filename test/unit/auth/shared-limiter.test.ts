/** One window for several hosts, on a real engine. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { Window } from "../../../gateway/server/auth/rate-limits.ts";
import { SharedLimiter } from "../../../gateway/server/auth/shared-limiter.ts";
import { RedisServer } from "../../support/redis/redis-server.ts";

let engine: RedisServer;
beforeAll(async () => {
  engine = await RedisServer.start();
});
afterAll(() => engine?.dispose());

const LONG: Window = { points: 10, seconds: 3600 };

function host(prefix: string, server = engine) {
  const client = new Redis(server.url, { maxRetriesPerRequest: 1, enableOfflineQueue: false });
  client.on("error", () => {});
  onTestFinished(() => client.disconnect());
  const limiter = new SharedLimiter("exec", LONG, { client, prefix });
  return new Promise<SharedLimiter>((resolve) => client.once("ready", () => resolve(limiter)));
}

describe("a window of several hosts", () => {
  it("is used up by all of them together, and each caller has one of his own", async () => {
    const [a, b] = await Promise.all([host("together:"), host("together:")]);
    const client = engine.client();
    const counted = async () => Number(await client.get((await client.keys("together:*"))[0] ?? ""));
    const allowed: boolean[] = [];
    for (let n = 1; n <= 12; n++) {
      allowed.push((await (n % 2 === 0 ? a : b).consume("alice")).allowed);
      // What was not waited for is under way.
      await expect.poll(counted, { interval: 2 }).toBe(n);
    }
    client.disconnect();
    expect(allowed.filter((one) => one)).toHaveLength(10);
    expect((await a.consume("bob")).allowed).toBe(true);
    const { allowed: again, result } = await b.consume("alice");
    expect(again).toBe(false);
    expect(result.msBeforeNext).toBeGreaterThan(3_000_000);
  });

  it("tells the engine no caller's name", async () => {
    const limiter = await host("names:");
    await limiter.consume('["jwt","acme","alice@example.org"]');
    const client = engine.client();
    const keys = await client.keys("names:*");
    client.disconnect();
    expect(keys).toHaveLength(1);
    expect(keys.join()).not.toMatch(/alice|acme/);
  });

  it("is each host's own while the engine is away", async () => {
    const server = await RedisServer.start();
    const limiter = await host("away:", server);
    expect((await limiter.consume("alice")).allowed).toBe(true);
    await server.end();
    const answers = [];
    for (let n = 0; n < 25; n++) answers.push((await limiter.consume("alice")).allowed);
    expect(answers.slice(0, 5)).toEqual([true, true, true, true, true]);
    expect(answers.at(-1)).toBe(false);
    await server.dispose();
  });
});
