import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Principal } from "../../../gateway/auth/principal.ts";
import { createRateLimits, type LimitedAction, WINDOWS } from "../../../gateway/auth/rate-limits.ts";

const user = (subject: string, tenant = "jwt-a"): Principal => ({ mode: "jwt", tenant, subject });

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("rate limits", () => {
  it("a-13 the 21st execution within 30 s is refused in the words the client reads", async () => {
    const limits = createRateLimits("on");
    for (let i = 1; i <= 20; i++) {
      const decision = await limits.consume("exec", user("u"));
      expect(decision.allowed).toBe(true);
      expect(decision.headers).toMatchObject({
        "RateLimit-Limit": "20",
        "RateLimit-Remaining": String(20 - i),
      });
      expect(decision.headers).not.toHaveProperty("Retry-After");
    }
    vi.advanceTimersByTime(22_500);
    expect(await limits.consume("exec", user("u"))).toEqual({
      allowed: false,
      headers: {
        "RateLimit-Policy": "20;w=30",
        "RateLimit-Limit": "20",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "8",
        "Retry-After": "8",
      },
      body: { error: "rate_limited", message: expect.any(String), retry_after_seconds: 8 },
    });
    vi.advanceTimersByTime(7_600);
    expect((await limits.consume("exec", user("u"))).allowed).toBe(true);
  });

  it.each(["upload", "download", "files"] as const)(
    "a-13 %s is refused with a text alone",
    async (action) => {
      const limits = createRateLimits("on");
      for (let i = 0; i < WINDOWS[action].points; i++) await limits.consume(action, user("u"));
      const decision = await limits.consume(action, user("u"));
      expect(decision.allowed).toBe(false);
      expect(decision.body).toEqual({ error: expect.stringMatching(/^Too many /) });
      expect(decision.headers["Retry-After"]).toBe(String(WINDOWS[action].seconds));
    },
  );

  it("counts users, tenants and actions apart", async () => {
    const limits = createRateLimits("on");
    for (let i = 0; i < 20; i++) await limits.consume("exec", user("u"));
    const others: readonly [LimitedAction, Principal][] = [
      ["exec", user("v")],
      ["exec", user("u", "jwt-b")],
      ["upload", user("u")],
      ["exec", { mode: "api-key", tenant: "jwt-a", subject: "u" }],
    ];
    for (const [action, principal] of others) {
      expect((await limits.consume(action, principal)).allowed).toBe(true);
    }
    expect((await limits.consume("exec", user("u"))).allowed).toBe(false);
  });

  it("a key, which speaks for many users, has ten times as much", async () => {
    const limits = createRateLimits("on");
    const key: Principal = { mode: "api-key", tenant: "default", subject: "-" };
    for (let i = 0; i < 200; i++) expect((await limits.consume("exec", key)).allowed).toBe(true);
    expect((await limits.consume("exec", key)).allowed).toBe(false);
  });

  it("remembers a bounded number of callers and forgets the oldest window first", async () => {
    const limits = createRateLimits("on");
    for (let i = 0; i < 21; i++) await limits.consume("exec", user("first"));
    for (let i = 0; i < 9_999; i++) await limits.consume("exec", user(`u${i}`));
    expect((await limits.consume("exec", user("first"))).allowed).toBe(false);
    await limits.consume("exec", user("one more"));
    expect((await limits.consume("exec", user("first"))).allowed).toBe(true);
    expect(vi.getTimerCount()).toBeLessThanOrEqual(10_000);
  });

  it("off is off", async () => {
    const limits = createRateLimits("off");
    for (let i = 0; i < 100; i++) expect((await limits.consume("exec", user("u"))).allowed).toBe(true);
  });
});
