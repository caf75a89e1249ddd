/** Two profiles at once on one host, each with its tenant: team-a's is `analyst`, everybody else's `default`. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inspectImage } from "../../../sandbox-image/tools/engine.ts";
import { testImageOf } from "../../support/profile-images.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const TEAM_A = "team-a-key-0123456789";
const TEAM_B = "team-b-key-0123456789";
const IMPORT = "import openpyxl; print(openpyxl.__name__)";
const SESSION = { session_id: "same-name" };

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    env: {
      KERNELYARD_IMAGE: testImageOf("default"),
      KERNELYARD_PROFILES: `analyst=${testImageOf("analyst")}`,
      KERNELYARD_TENANT_PROFILES: "team-a=analyst",
      KERNELYARD_API_KEYS: `integration-test-key,team-a=${TEAM_A},team-b=${TEAM_B}`,
      KERNELYARD_POOL_SIZE: "1",
    },
  });
});
afterAll(() => stack?.stop());

const as = async (key: string, path: string, body: unknown, headers: Record<string, string> = {}) => {
  const response = await stack.post(path, body, { "x-api-key": key, ...headers });
  expect(response.status).toBe(200);
  return response.json();
};

describe("two profiles on one host", () => {
  it("serve each its tenant, in calls, sessions and bash; whoever lacks a library is told who has it", async () => {
    const hint = expect.stringContaining("[sandbox] openpyxl is not in this image; profile analyst has it\n");
    for (const [lang, code] of [
      ["py", IMPORT],
      ["bash", `python3 -c '${IMPORT}'`],
    ] as const) {
      expect(await as(TEAM_A, "/exec", { lang, code })).toMatchObject({ stdout: "openpyxl\n", stderr: "" });
      expect(await as(TEAM_B, "/exec", { lang, code })).toMatchObject({ stdout: "", stderr: hint });
    }
    expect(await as(TEAM_A, "/run", { ...SESSION, code: IMPORT })).toMatchObject({ stdout: "openpyxl\n" });
    expect(await as(TEAM_B, "/run", { ...SESSION, code: IMPORT })).toMatchObject({ stderr: hint });
    expect(await as(TEAM_B, "/exec", { lang: "bash", code: "pip install openpyxl" })).toMatchObject({
      stderr: hint,
    });
  });

  it("are out of each other's reach, whatever a request says", async () => {
    await as(TEAM_A, "/run", { ...SESSION, code: "open('mine.txt', 'w').write('a'); secret = 1" });
    const looks = "import os; print(os.path.exists('mine.txt'), 'secret' in globals())";
    expect(await as(TEAM_B, "/run", { ...SESSION, code: looks })).toMatchObject({ stdout: "False False\n" });
    const wish = { "x-codeapi-execution-profile": "analyst" };
    expect(await as(TEAM_B, "/exec", { lang: "py", code: IMPORT, profile: "analyst" }, wish)).toMatchObject({
      stdout: "",
    });
  });

  it("run by the digests that their names have, and health says which", async () => {
    const digests = {
      default: (await inspectImage(testImageOf("default")))?.id,
      analyst: (await inspectImage(testImageOf("analyst")))?.id,
    };
    const containers = await stack.containers();
    for (const [profile, id] of Object.entries(digests)) {
      const own = containers.filter(({ Labels }) => Labels["kernelyard.profile"] === profile);
      expect(own.length, profile).toBeGreaterThan(0);
      for (const { ImageID } of own) expect(ImageID).toBe(id);
    }
  });
});
