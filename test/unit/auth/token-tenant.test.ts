import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TenantName } from "../../../gateway/common/protocol/launcher-api.ts";
import { tokenTenant } from "../../../gateway/server/auth/token-tenant.ts";

describe("tenants of tokens", () => {
  it("always have a name that sandboxes and volumes can carry", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (claimed) => {
        expect(TenantName.safeParse(tokenTenant(claimed)).success).toBe(true);
      }),
    );
  });

  it("never meet", () => {
    const near = fc.stringMatching(/^[aA-]{0,40}$/);
    fc.assert(
      fc.property(near, near, (a, b) => {
        expect(tokenTenant(a) === tokenTenant(b)).toBe(a === b);
      }),
      { numRuns: 1000 },
    );
    // A tenant named like another one's digest.
    const digest = tokenTenant("Ünï").slice("jwt-".length);
    expect(tokenTenant(digest)).not.toBe(tokenTenant("Ünï"));
  });

  it("stay readable where they can", () => {
    expect(tokenTenant("legacy")).toBe("jwt-legacy");
    expect(tokenTenant("Legacy")).toMatch(/^jwt--[a-z2-7]{26}$/);
  });
});
