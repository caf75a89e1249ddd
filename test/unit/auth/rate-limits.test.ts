import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";
import type { Principal } from "../../../gateway/server/auth/principal.ts";
import {
  createRateLimiter,
  LIBRECHAT,
  type LimitedAction,
  WINDOWS,
} from "../../../gateway/server/auth/rate-limits.ts";

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
  it("are more than LibreChat asks for one user at once", () => {
    const { messages, toolCalls, imageWindows, executions, skills, files, outputs } = LIBRECHAT;
    expect(WINDOWS.exec.points).toBeGreaterThanOrEqual(messages * (toolCalls * imageWindows + executions));
    expect(WINDOWS.upload.points).toBeGreaterThanOrEqual(messages * (skills + files));
    expect(WINDOWS.download.points).toBeGreaterThanOrEqual(6 * messages * outputs);
    expect(WINDOWS.files.points).toBeGreaterThanOrEqual(6 * messages * files);
  });

  it("are described in the settings", () => {
    const { about } = SETTINGS.KERNELYARD_RATE_LIMITS;
    const { exec, upload, download, files } = WINDOWS;
    expect(about).toContain(`${exec.points} executions in ${exec.seconds} s`);
    expect(about).toContain(`${upload.points} uploads in ${upload.seconds / 60} min`);
    expect(about).toContain(`${download.points} downloads and ${files.points} listings a minute`);
    expect([download.seconds, files.seconds]).toEqual([60, 60]);
  });

  it("a-13 one execution too many is refused in the words the client reads", async () => {
    const limits = limiter();
    const { points } = WINDOWS.exec;
    for (let i = 1; i <= points; i++) {
      const decision = await limits.admit(user("u"), "exec");
      expect(decision.allowed).toBe(true);
      expect(decision.headers).toMatchObject({
        "RateLimit-Limit": String(points),
        "RateLimit-Remaining": String(points - i),
      });
    }
    vi.advanceTimersByTime(22_500);
    expect(await limits.admit(user("u"), "exec")).toEqual({
      allowed: false,
      retryAfterSeconds: 8,
      headers: {
        "RateLimit-Policy": `${points};w=30`,
        "RateLimit-Limit": String(points),
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
    for (let i = 0; i < WINDOWS.exec.points; i++) await limits.admit(user("u"), "exec");
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
    for (let i = 0; i < 10 * WINDOWS.exec.points; i++) {
      expect((await limits.admit(key, "exec")).allowed).toBe(true);
    }
    expect((await limits.admit(key, "exec")).allowed).toBe(false);
  });

  it("remembers a bounded number of callers and forgets the oldest window first", async () => {
    const limits = limiter();
    for (let i = 0; i <= WINDOWS.exec.points; i++) await limits.admit(user("first"), "exec");
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
