import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { readSettings, SettingsError } from "../../../gateway/common/settings/read.ts";
import { ApiKeyAuthenticator, parseApiKeys } from "../../../gateway/server/auth/api-keys.ts";
import { Authentication, createAuthentication } from "../../../gateway/server/auth/authenticate.ts";
import { problemsOf } from "../settings/problems.ts";

const KEY = "first-key-0123456789";
const OTHER = "other-key-0123456789==";
const sha256 = (key: string) => createHash("sha256").update(key).digest("hex");
const headers = (values: Record<string, string>) => (name: string) => values[name];

const problems = (text: string | null) => problemsOf(() => parseApiKeys(text));

describe("KERNELYARD_API_KEYS", () => {
  it("takes bare keys, keys of tenants, and digests", () => {
    const keys = parseApiKeys(`${KEY}, acme=${OTHER},b-2=sha256:${sha256("third-key-0123456789")}`);
    expect(keys.map(({ tenant, sha256 }) => [tenant, sha256.toString("hex")])).toEqual([
      ["default", sha256(KEY)],
      ["acme", sha256(OTHER)],
      ["b-2", sha256("third-key-0123456789")],
    ]);
  });

  it("takes a bare key that ends like base64", () => {
    expect(parseApiKeys("a2V5LXRoYXQtaXMtbG9uZw==")[0]?.tenant).toBe("default");
  });

  it.each([
    [null, "there is none"],
    [" , ", "there is none"],
    ["short", "entry 1 is shorter than 16 characters"],
    [`${KEY},Acme=${OTHER}`, "entry 2 names a tenant"],
    ["acme=sha256:12", "64 hexadecimal digits"],
    [`"${OTHER}"`, 'entry 1 has quotes around it (")'],
    [`acme='${OTHER}'`, "entry 1 has quotes around it (')"],
    [`${KEY},"acme=${OTHER}"`, 'entry 2 has quotes around it (")'],
    [`“${OTHER}”`, "entry 1 has quotes around it (“)"],
    [`${KEY}\u200b`, "entry 1 has a character (U+200B) that no caller can send"],
  ])("refuses %j without repeating it", (text, part) => {
    const found = problems(text);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(part);
    expect(found[0]).not.toContain(OTHER);
  });
});

describe("authentication by key", () => {
  const authenticator = new ApiKeyAuthenticator(parseApiKeys(`${KEY},acme=${OTHER}`));

  it("yields the key's tenant", () => {
    expect(authenticator.authenticate(headers({ "x-api-key": OTHER }))).toEqual({
      kind: "accepted",
      principal: { mode: "api-key", tenant: "acme", subject: "-" },
    });
  });

  it.each(["wrong-key-0123456789", "", KEY.slice(0, -1), `${KEY} `, "x".repeat(100_000), sha256(KEY)])(
    "refuses %.30j",
    (key) => {
      expect(authenticator.authenticate(headers({ "x-api-key": key }))).toMatchObject({
        kind: "refused",
        refusal: { status: 401 },
      });
    },
  );

  it("leaves requests without a key to the others, and refuses when nobody takes them", async () => {
    expect(authenticator.authenticate(headers({}))).toEqual({ kind: "absent" });
    const chain = new Authentication(["api-key"], [authenticator]);
    expect(await chain.decide(headers({}))).toMatchObject({ kind: "refused", refusal: { status: 401 } });
  });
});

describe("the chain", () => {
  it("accepts everybody as one principal where the network vouches for them", async () => {
    const chain = createAuthentication(readSettings({ KERNELYARD_AUTH: "none" }));
    expect(await chain.decide(headers({}))).toEqual({
      kind: "accepted",
      principal: { mode: "none", tenant: "default", subject: "-" },
    });
  });

  it("does not start without a key where keys are asked for", () => {
    expect(() => createAuthentication(readSettings({ KERNELYARD_AUTH: "api-key" }))).toThrow(SettingsError);
  });
});
