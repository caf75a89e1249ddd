/** What the README and the deployment's document promise is what the code does. */
import { generateKeyPairSync } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { librechatConfiguration } from "../../../gateway/common/librechat/configuration.ts";
import { librechatEnvironment } from "../../../gateway/common/librechat/environment.ts";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";
import { ROOT, readDocument, shellBlocks } from "../../support/documents.ts";

const readme = readDocument("README.md");

/** Values that differ from deployment to deployment become what the README writes in their place. */
function withoutValues(environment: string): string {
  const kept = "<printed once; kept in keys/ of the data directory>";
  return environment
    .replace(/(?<=^CODEAPI_JWT_PRIVATE_KEY_BASE64=).*$/m, kept)
    .replace(/(?<=^CODEAPI_JWT_KID=).*$/m, "<printed>")
    .replace(/(?<=^LIBRECHAT_CODE_API_KEY=).*$/m, kept);
}

const settings = { baseUrl: "http://127.0.0.1:3112/v1" };
const apiKey = { key: "ky_x", path: "keys/api-key", created: true };
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
      withoutValues(librechatEnvironment({ ...settings, auth: ["api-key", "jwt"], apiKey, jwt })),
      withoutValues(librechatEnvironment({ ...settings, auth: ["api-key"], apiKey, jwt: null })),
      withoutValues(librechatEnvironment({ ...settings, auth: ["none"], apiKey: null, jwt: null })),
    ]);
  });

  it("shows what LibreChat's own configuration needs as npm start prints it", () => {
    const blocks = [...readme.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1]);
    expect(blocks).toEqual([librechatConfiguration(settings.baseUrl)]);
  });

  it("names only settings that exist", () => {
    for (const [name] of readme.matchAll(/KERNELYARD_[A-Z_]+/g))
      expect(Object.keys(SETTINGS)).toContain(name);
  });
});

describe("docs/deploy.md", () => {
  const deploy = readDocument("docs/deploy.md");

  it("has a stack's commands for each target, with files and outputs that exist", () => {
    const outputs = readDocument("infra/target.ts");
    const recipes = shellBlocks("docs/deploy.md").filter((block) => block.includes("pulumi stack init"));
    const samples = recipes.map((block) => /infra\/samples\/Pulumi\.(\w+)\.sample\.yaml/.exec(block)?.[1]);
    expect(samples).toEqual(["local", "hosts", "aws"]);
    for (const block of recipes) {
      for (const [, path] of block.matchAll(/((?:infra|gateway)\/\S+)/g)) {
        expect(existsSync(join(ROOT, path ?? "")), path).toBe(true);
      }
      for (const [, output] of block.matchAll(/pulumi stack output (?:--show-secrets )?(\w+)/g)) {
        expect(outputs).toContain(output ?? "");
      }
    }
  });

  it("asks for the Pulumi command that the tests run", () => {
    const version = /^readonly VERSION=v(\d+\.\d+)\./m.exec(readDocument("test/infra/pulumi-cli.sh"))?.[1];
    expect(deploy).toContain(`${version} or newer`);
  });

  it("names only settings that exist", () => {
    for (const [name] of deploy.matchAll(/KERNELYARD_[A-Z0-9_]*[A-Z0-9]\b(?!_)/g))
      expect(Object.keys(SETTINGS)).toContain(name);
  });
});
