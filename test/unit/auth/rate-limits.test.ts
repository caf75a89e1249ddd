import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Principal } from "../../../gateway/server/auth/principal.ts";
import { createRateLimiter, type LimitedAction, WINDOWS } from "../../../gateway/server/auth/rate-limits.ts";

function limiter() {
  const made = createRateLimiter("on");
  if (made === null) throw new Error("no limiter");
  return made;
}

const user = (subject: string, tenant = "jwt-a"): Principal => ({ mode: "jwt", tenant, subject });

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("rate limits", () => {
  it("a-13 the 21st execution within 30 s is refused in the words the client reads", async () => {
    const limits = limiter();
    for (let i = 1; i <= 20; i++) {
      const decision = await limits.admit(user("u"), "exec");
      expect(decision.allowed).toBe(true);
      expect(decision.headers).toMatchObject({
        "RateLimit-Limit": "20",
        "RateLimit-Remaining": String(20 - i),
      });
    }
    vi.advanceTimersByTime(22_500);
    expect(await limits.admit(user("u"), "exec")).toEqual({
      allowed: false,
      retryAfterSeconds: 8,
      headers: {
        "RateLimit-Policy": "20;w=30",
        "RateLimit-Limit": "20",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "8",
      },
      message: "Too many execution requests, please try again later.",
    });
    vi.advanceTimersByTime(7_600);
    expect((await limits.admit(user("u"), "exec")).allowed).toBe(true);
  });

  it.each(["upload", "download", "files"] as const)("a-13 %s has its own window", async (action) => {
    const limits = limiter();
    for (let i = 0; i < WINDOWS[action].points; i++) await limits.admit(user("u"), action);
    const decision = await limits.admit(user("u"), action);
    expect(decision.allowed).toBe(false);
    expect(decision.retryAfterSeconds).toBe(WINDOWS[action].seconds);
  });

  it("counts users, tenants and actions apart", async () => {
    const limits = limiter();
    for (let i = 0; i < 20; i++) await limits.admit(user("u"), "exec");
    const others: readonly [LimitedAction, Principal][] = [
      ["exec", user("v")],
      ["exec", user("u", "jwt-b")],
      ["upload", user("u")],
      ["exec", { mode: "api-key", tenant: "jwt-a", subject: "u" }],
    ];
    for (const [action, principal] of others) {
      expect((await limits.admit(principal, action)).allowed).toBe(true);
    }
    expect((await limits.admit(user("u"), "exec")).allowed).toBe(false);
  });

  it("a key, which speaks for many users, has ten times as much", async () => {
    const limits = limiter();
    const key: Principal = { mode: "api-key", tenant: "default", subject: "-" };
    for (let i = 0; i < 200; i++) expect((await limits.admit(key, "exec")).allowed).toBe(true);
    expect((await limits.admit(key, "exec")).allowed).toBe(false);
  });

  it("remembers a bounded number of callers and forgets the oldest window first", async () => {
    const limits = limiter();
    for (let i = 0; i < 21; i++) await limits.admit(user("first"), "exec");
    for (let i = 0; i < 9_999; i++) await limits.admit(user(`u${i}`), "exec");
    expect((await limits.admit(user("first"), "exec")).allowed).toBe(false);
    await limits.admit(user("one more"), "exec");
    expect((await limits.admit(user("first"), "exec")).allowed).toBe(true);
    expect(vi.getTimerCount()).toBeLessThanOrEqual(10_000);
  });

  it("off is off", () => {
    expect(createRateLimiter("off")).toBeNull();
  });
});
