import { describe, expect, it } from "vitest";
import type { Principal } from "../../../gateway/server/auth/principal.ts";
import {
  fileCaller,
  mayUse,
  ownerKey,
  type ResourceClaim,
  readClaim,
  USER_CLAIM,
} from "../../../gateway/server/files/ownership.ts";

const token = (tenant: string, subject: string): Principal => ({ mode: "jwt", tenant, subject });
const CALLERS = {
  "alice@acme": token("acme", "alice"),
  "bob@acme": token("acme", "bob"),
  "alice@globex": token("globex", "alice"),
  "key of acme": { mode: "api-key", tenant: "acme", subject: "-" },
  "key of globex": { mode: "api-key", tenant: "globex", subject: "-" },
} satisfies Record<string, Principal>;
type Caller = keyof typeof CALLERS;

const user = (id: string): ResourceClaim => ({ kind: "user", id, version: null });
const agent = (id: string): ResourceClaim => ({ kind: "agent", id, version: null });
const skill = (id: string, version: number): ResourceClaim => ({ kind: "skill", id, version });

interface Row {
  readonly uploadedBy: Caller;
  readonly as: ResourceClaim;
  readonly claims: ResourceClaim;
  readonly allowed: readonly Caller[];
}

const ACME_USERS: readonly Caller[] = ["alice@acme", "bob@acme"];

/** Reading, listing, deleting and executing ask the same question, so one table answers for all four. */
const TABLE: readonly Row[] = [
  { uploadedBy: "alice@acme", as: user("alice"), claims: user("alice"), allowed: ["alice@acme"] },
  // The id of a user claim is informational: nobody becomes alice by claiming it, alice stays alice without it.
  { uploadedBy: "alice@acme", as: user("bob"), claims: user("bob"), allowed: ["alice@acme"] },
  { uploadedBy: "alice@acme", as: user("alice"), claims: USER_CLAIM, allowed: ["alice@acme"] },
  { uploadedBy: "alice@acme", as: user("alice"), claims: agent("alice"), allowed: [] },
  // A shared agent: every user of the tenant who names it.
  { uploadedBy: "alice@acme", as: agent("a1"), claims: agent("a1"), allowed: ACME_USERS },
  { uploadedBy: "alice@acme", as: agent("a1"), claims: agent("a2"), allowed: [] },
  { uploadedBy: "alice@acme", as: agent("a1"), claims: USER_CLAIM, allowed: [] },
  { uploadedBy: "alice@acme", as: agent("a1"), claims: skill("a1", 1), allowed: [] },
  // A shared skill: by version, whoever uploaded it.
  { uploadedBy: "bob@acme", as: skill("s", 3), claims: skill("s", 3), allowed: ACME_USERS },
  { uploadedBy: "bob@acme", as: skill("s", 3), claims: skill("s", 4), allowed: [] },
  { uploadedBy: "bob@acme", as: skill("s", 3), claims: agent("s"), allowed: [] },
  // Another tenant's namesake.
  { uploadedBy: "alice@globex", as: user("alice"), claims: user("alice"), allowed: ["alice@globex"] },
  { uploadedBy: "alice@globex", as: agent("a1"), claims: agent("a1"), allowed: ["alice@globex"] },
  // Keys name no user: within their tenant the unguessable id is the capability, whatever the request claims.
  { uploadedBy: "key of acme", as: user("x"), claims: agent("y"), allowed: ["key of acme"] },
  { uploadedBy: "key of acme", as: USER_CLAIM, claims: USER_CLAIM, allowed: ["key of acme"] },
  { uploadedBy: "key of globex", as: USER_CLAIM, claims: USER_CLAIM, allowed: ["key of globex"] },
];

describe.each(TABLE)(
  "a file of $uploadedBy as $as, asked for as $claims",
  ({ uploadedBy, as, claims, allowed }) => {
    const owner = ownerKey(fileCaller(CALLERS[uploadedBy]), as);
    it.each(Object.entries(CALLERS))("by %s", (name, principal) => {
      expect(mayUse(fileCaller(principal), claims, owner)).toBe(
        (allowed as readonly string[]).includes(name),
      );
    });
  },
);

it("has the keys of the contract", () => {
  const alice = fileCaller(CALLERS["alice@acme"]);
  expect(ownerKey(alice, skill("s", 3))).toBe("acme:skill:s:v:3");
  expect(ownerKey(alice, agent("a"))).toBe("acme:agent:a");
  expect(ownerKey(alice, user("whatever"))).toBe("acme:user:alice");
});

it("gives different owners different keys, whatever characters their names have", () => {
  const keys = [
    ownerKey({ tenant: "a", user: "b:agent:c" }, USER_CLAIM),
    ownerKey({ tenant: "a:user:b", user: "c" }, agent("d")),
    ownerKey({ tenant: "a", user: "x" }, agent("user:b:agent:d")),
    ownerKey({ tenant: "a", user: "x" }, skill("s:v:1", 2)),
    ownerKey({ tenant: "a", user: "x" }, skill("s", 12)),
    ownerKey({ tenant: "a", user: null }, USER_CLAIM),
    ownerKey({ tenant: "a:shared", user: null }, USER_CLAIM),
  ];
  expect(new Set(keys).size).toBe(keys.length);
});

describe("a claim", () => {
  it.each([
    [{}, { kind: "user", id: null, version: null }],
    [
      { kind: "", id: "", version: "", entity_id: "" },
      { kind: "user", id: null, version: null },
    ],
    [
      { kind: "user", id: "64f0" },
      { kind: "user", id: "64f0", version: null },
    ],
    [
      { kind: "agent", id: "agent_1:x.y" },
      { kind: "agent", id: "agent_1:x.y", version: null },
    ],
    [
      { kind: "skill", id: "s", version: "7" },
      { kind: "skill", id: "s", version: 7 },
    ],
    [
      { kind: "skill", id: "s", version: 7 },
      { kind: "skill", id: "s", version: 7 },
    ],
    [{ entity_id: "asst_1" }, { kind: "agent", id: "asst_1", version: null }],
    // A Gen 2 request says more than the older field.
    [
      { kind: "user", id: "u", entity_id: "asst_1" },
      { kind: "user", id: "u", version: null },
    ],
  ])("is read from %j", (fields, claim) => {
    expect(readClaim(fields)).toEqual({ ok: true, claim });
  });

  it.each([
    [{ kind: "admin", id: "x" }, "kind must be one of: skill, agent, user"],
    [{ kind: "agent" }, "id is required when kind is agent"],
    [{ kind: "skill", version: "1" }, "id is required when kind is skill"],
    [{ kind: "skill", id: "s" }, "version must be a whole number when kind is skill"],
    [{ kind: "skill", id: "s", version: "1.5" }, "version must be a whole number when kind is skill"],
    [{ kind: "user", id: "a/b" }, "id is invalid"],
    [{ kind: "agent", id: "x".repeat(129) }, "id is invalid"],
    [{ entity_id: "../x" }, "entity_id is invalid"],
  ])("%j is refused: %s", (fields, error) => {
    expect(readClaim(fields)).toEqual({ ok: false, error });
  });
});
