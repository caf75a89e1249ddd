import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GiveWay } from "../../../gateway/server/sessions/give-way.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

function session(afterMs: number | null) {
  const interrupt = vi.fn(() => true);
  return { giveWay: new GiveWay(afterMs, interrupt), interrupt };
}

describe("GiveWay", () => {
  it("interrupts a call that has run its time as soon as another one waits", () => {
    const { giveWay, interrupt } = session(1000);
    giveWay.begin();
    vi.advanceTimersByTime(5000);
    expect(interrupt).not.toHaveBeenCalled();
    const leave = giveWay.wait();
    vi.advanceTimersByTime(0);
    expect(interrupt).toHaveBeenCalledOnce();
    expect(giveWay.gaveWay).toBe(true);
    leave();
    giveWay.end();
  });

  it("lets a call have its time while others wait, and counts the next one's anew", () => {
    const { giveWay, interrupt } = session(1000);
    giveWay.begin();
    const leaves = [giveWay.wait(), giveWay.wait()];
    vi.advanceTimersByTime(900);
    giveWay.end();
    leaves[0]?.();
    giveWay.begin();
    vi.advanceTimersByTime(999);
    expect(interrupt).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(interrupt).toHaveBeenCalledOnce();
    vi.advanceTimersByTime(10_000);
    expect(interrupt).toHaveBeenCalledOnce();
    leaves[1]?.();
    giveWay.end();
  });

  it("forgets who gave up waiting", () => {
    const { giveWay, interrupt } = session(1000);
    giveWay.begin();
    giveWay.wait()();
    vi.advanceTimersByTime(5000);
    expect(interrupt).not.toHaveBeenCalled();
    expect(giveWay.gaveWay).toBe(false);
  });

  it("says nothing gave way where nothing could be interrupted, and of the next call", () => {
    const giveWay = new GiveWay(0, () => false);
    giveWay.begin();
    const leave = giveWay.wait();
    vi.advanceTimersByTime(0);
    expect(giveWay.gaveWay).toBe(false);
    leave();
    const { giveWay: other } = session(0);
    other.begin();
    const left = other.wait();
    vi.advanceTimersByTime(0);
    expect(other.gaveWay).toBe(true);
    left();
    other.end();
    other.begin();
    expect(other.gaveWay).toBe(false);
  });

  it("never does without the setting", () => {
    const { giveWay, interrupt } = session(null);
    giveWay.begin();
    const leave = giveWay.wait();
    vi.advanceTimersByTime(1e9);
    leave();
    expect(interrupt).not.toHaveBeenCalled();
  });
});
