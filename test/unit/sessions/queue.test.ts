import { describe, expect, it } from "vitest";
import { Queue } from "../../../gateway/server/sessions/queue.ts";

const never = new AbortController().signal;

describe("Queue", () => {
  it("grants turns in the order they were asked for", async () => {
    const queue = new Queue(8);
    const order: number[] = [];
    expect(await queue.acquire(1000, never)).toBe("granted");
    const waiting = [1, 2, 3].map(async (n) => {
      expect(await queue.acquire(1000, never)).toBe("granted");
      order.push(n);
      queue.release();
    });
    queue.release();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    expect(queue.idle).toBe(true);
  });

  it("is busy when too many wait, and when the wait is over", async () => {
    const queue = new Queue(1);
    await queue.acquire(0, never);
    const waiting = queue.acquire(20, never);
    expect(await queue.acquire(1000, never)).toBe("busy");
    expect(await waiting).toBe("busy");
    expect(queue.length).toBe(0);
    queue.release();
    expect(await queue.acquire(0, never)).toBe("granted");
  });

  it("forgets who hangs up while waiting", async () => {
    const queue = new Queue(8);
    await queue.acquire(0, never);
    const hangUp = new AbortController();
    const first = queue.acquire(10_000, hangUp.signal);
    const second = queue.acquire(10_000, never);
    hangUp.abort();
    expect(await first).toBe("cancelled");
    queue.release();
    expect(await second).toBe("granted");
  });

  it("never grants to a caller who is gone already", async () => {
    const queue = new Queue(8);
    expect(await queue.acquire(0, AbortSignal.abort())).toBe("cancelled");
    expect(queue.tryAcquire()).toBe(true);
    expect(queue.tryAcquire()).toBe(false);
  });

  it("gives nobody a turn once it is closed, and takes none away", async () => {
    const queue = new Queue(8);
    await queue.acquire(0, never);
    const waiting = [queue.acquire(1000, never), queue.acquire(1000, never)];
    queue.close();
    expect(await Promise.all(waiting)).toEqual(["closed", "closed"]);
    expect(queue.idle).toBe(false);
    queue.release();
    expect(queue.idle).toBe(true);
    expect(await queue.acquire(1000, never)).toBe("closed");
  });
});
