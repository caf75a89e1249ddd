import { describe, expect, it } from "vitest";
import { LEASE_MARGIN_MS, LEASE_MS, Lease } from "../../../gateway/server/fleet/lease.ts";

const TIMES = { leaseMs: 12_000, marginMs: 3_000 };

function lease() {
  const clock = { now: 1_000 };
  return { clock, lease: new Lease(TIMES, () => clock.now) };
}

describe("the lease", () => {
  it("ends here before it ends for the others, counted from when the beat was sent", () => {
    const { clock, lease: mine } = lease();
    expect(mine.valid).toBe(false);
    clock.now = 6_000;
    mine.renewed(1_000, "one");
    expect(mine.left).toBe(4_000);
    clock.now = 9_999;
    expect(mine.valid).toBe(true);
    clock.now = 10_000;
    expect(mine.valid).toBe(false);
    expect(mine.left).toBe(0);
  });

  it("is not made shorter by an answer that comes late", () => {
    const { clock, lease: mine } = lease();
    mine.renewed(4_000, "one");
    mine.renewed(1_000, "one");
    clock.now = 12_999;
    expect(mine.valid).toBe(true);
  });

  it("says what a beat means for what is held", () => {
    const { clock, lease: mine } = lease();
    expect(mine.renewed(1_000, "one")).toBe("lapsed");
    expect(mine.renewed(2_000, "one")).toBe("kept");
    // The engine's data were lost: it knows of no lease, and this host's is valid.
    expect(mine.renewed(3_000, "two")).toBe("forgotten");
    // Asleep for so long that only the engine can say: it says that the lease went on.
    clock.now = 13_000;
    expect(mine.renewed(13_000, "two")).toBe("kept");
    clock.now = 40_000;
    expect(mine.renewed(40_000, "three")).toBe("lapsed");
  });

  it("is over at once where it has to be", () => {
    const { lease: mine } = lease();
    mine.renewed(1_000, "one");
    mine.end();
    expect(mine.valid).toBe(false);
    expect(mine.renewed(1_000, "one")).toBe("kept");
  });

  it("leaves a pause between looking and beginning, and is renewed several times before it ends", () => {
    expect(LEASE_MARGIN_MS).toBeGreaterThanOrEqual(3_000);
    expect(LEASE_MS).toBeGreaterThan(LEASE_MARGIN_MS);
  });
});
