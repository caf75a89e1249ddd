/** `npm run verify` without an endpoint: what it reads, signs and says. Endpoints are in `test/infra`. */
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseEnvironment, readCredentials, tokenOf } from "../../../gateway/cli/verify/credentials.ts";
import { render, summary } from "../../../gateway/cli/verify/report.ts";
import { librechatEnvironment } from "../../../gateway/common/librechat/environment.ts";
import { JwtAuthenticator, parsePublicKey } from "../../../gateway/server/auth/jwt.ts";
import { ROOT } from "../../support/documents.ts";
import { freePort } from "../../support/free-port.ts";

const pair = generateKeyPairSync("ed25519");
const privateKeyPem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const publicKeyPem = pair.publicKey.export({ type: "spki", format: "pem" }).toString();
const { kid } = parsePublicKey(publicKeyPem);
const printed = librechatEnvironment({
  baseUrl: "https://code.example.org/v1",
  auth: ["api-key", "jwt"],
  apiKey: { key: "ky_key", path: "", created: true },
  jwt: { privateKeyPem, kid: kid ?? "", path: "", created: true },
  audience: "somebody",
});

describe("credentials", () => {
  it("are those that a deployment prints", async () => {
    const credentials = readCredentials(parseEnvironment(printed));
    expect(credentials).toMatchObject({ baseUrl: "https://code.example.org/v1", apiKey: "ky_key" });
    const own = credentials.pair;
    if (own === null) throw new Error("there is a pair");
    const rules = { issuer: "librechat", audience: "somebody", maxLifetimeS: 300 };
    const authenticator = new JwtAuthenticator(parsePublicKey(publicKeyPem), rules);
    const verified = async (key = pair.privateKey) => {
      const token = await tokenOf(own, "user-1", key);
      return authenticator.authenticate((name) => (name === "authorization" ? `Bearer ${token}` : undefined));
    };
    expect(await verified()).toMatchObject({ principal: { subject: "user-1" } });
    expect(await verified(generateKeyPairSync("ed25519").privateKey)).not.toHaveProperty("principal");
  });

  it("may be none, and are refused when the key is none", () => {
    expect(readCredentials({})).toEqual({ baseUrl: null, apiKey: null, pair: null });
    expect(() => readCredentials({ CODEAPI_JWT_PRIVATE_KEY_BASE64: "bm9uZQ==" })).toThrow(
      /is no private key/,
    );
  });
});

describe("the report", () => {
  const finding = (state: "holds" | "weaker" | "broken") => ({ state, title: `a ${state}`, detail: "said" });
  it.each([
    [["holds", "holds"], "Verified: all 2 checks hold."],
    [["holds", "weaker"], "Verified: 1 checks hold, 1 are weaker than designed or could not be tried."],
    [["holds", "weaker", "broken"], "Not verified: 1 of 3 checks are broken."],
  ] as const)("of %j ends with one line", (states, line) => {
    const findings = states.map(finding);
    expect(summary(findings)).toBe(line);
    expect(render(findings)).toHaveLength(states.length);
  });
});

describe("the command", () => {
  const run = (...words: string[]) => {
    const env = { PATH: process.env.PATH };
    const main = join(ROOT, "gateway/cli/verify/main.ts");
    return spawnSync(process.execPath, [main, ...words], { encoding: "utf8", env });
  };
  it.each([
    [],
    ["ftp://somewhere"],
    ["http://a", "http://b"],
    ["--nothing"],
    ["http://a", "--environment", "/no"],
  ])("cannot begin with %j", (...words) => {
    const said = run(...words);
    expect(said.status).toBe(2);
    expect(said.stderr).toContain("npm run verify -- URL");
  });

  it("says that nobody is there", async () => {
    const said = run(`http://127.0.0.1:${await freePort()}`);
    expect(said.stdout).toMatch(/broken +reachable .*ECONNREFUSED/);
    expect(said.status).toBe(1);
  });
});
