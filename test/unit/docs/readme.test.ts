/** What the README promises is what the code does. */
import { generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { librechatEnvironment } from "../../../gateway/common/keys/librechat-environment.ts";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";

const ROOT = join(import.meta.dirname, "../../..");
const readme = readFileSync(join(ROOT, "README.md"), "utf8");

/** Values that differ from deployment to deployment become what the README writes in their place. */
function withoutValues(environment: string): string {
  const kept = "<printed once; kept in keys/ of the data directory>";
  return environment
    .replace(/(?<=^CODEAPI_JWT_PRIVATE_KEY_BASE64=).*$/m, kept)
    .replace(/(?<=^CODEAPI_JWT_KID=).*$/m, "<printed>")
    .replace(/(?<=^LIBRECHAT_CODE_API_KEY=).*$/m, kept);
}

const settings = { baseUrl: "http://127.0.0.1:3112/v1" };
const pair = generateKeyPairSync("ed25519", {
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
});
const jwt = {
  kid: "kernelyard-1",
  created: true,
  path: "keys/jwt",
  privateKeyPem: pair.privateKey,
  publicKeyPem: pair.publicKey,
};

describe("README", () => {
  it("shows LibreChat's settings as npm start prints them, for tokens, key and private network", () => {
    const blocks = [...readme.matchAll(/```ini\n([\s\S]*?)```/g)].map((match) => match[1]);
    expect(blocks).toEqual([
      withoutValues(librechatEnvironment({ ...settings, apiKey: "ky_x", jwt })),
      withoutValues(librechatEnvironment({ ...settings, apiKey: "ky_x", jwt: null })),
      withoutValues(librechatEnvironment({ ...settings, apiKey: null, jwt: null })),
    ]);
  });

  it("deploys as docs/deploy.md does, with files and outputs that exist", () => {
    const deploy = readFileSync(join(ROOT, "docs/deploy.md"), "utf8");
    const outputs = readFileSync(join(ROOT, "infra/target.ts"), "utf8");
    const section = readme.slice(readme.indexOf("## Deploy"), readme.indexOf("## Test"));
    const blocks = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
    expect(blocks).toHaveLength(3);
    for (const block of blocks) {
      expect(deploy).toContain(block);
      for (const [, path] of block.matchAll(/(infra\/\S+)/g)) {
        expect(existsSync(join(ROOT, path ?? "")), path).toBe(true);
      }
      for (const [, output] of block.matchAll(/pulumi stack output (?:--show-secrets )?(\w+)/g)) {
        expect(outputs).toContain(output ?? "");
      }
    }
  });

  it("names only npm scripts, files and settings that exist", () => {
    const scripts: unknown = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).scripts;
    expect(scripts).toBeTypeOf("object");
    for (const [, name] of readme.matchAll(/npm run ([a-z-]+)/g))
      expect(scripts).toHaveProperty([name ?? ""]);
    for (const [, path] of readme.matchAll(/\]\((?!http)([^)#]+)/g)) {
      expect(existsSync(join(ROOT, path ?? "")), path).toBe(true);
    }
    for (const [name] of readme.matchAll(/KERNELYARD_[A-Z_]+/g))
      expect(Object.keys(SETTINGS)).toContain(name);
  });
});
