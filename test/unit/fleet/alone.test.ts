/** A host that is alone carries nothing of a fleet. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const PROGRAM = `
  import { createRequire } from "node:module";
  import { readSettings } from "./gateway/common/settings/read.ts";
  import { assemble, createJsonReader } from "./gateway/server/assemble.ts";
  import { loadFleet } from "./gateway/server/fleet/load.ts";
  const given = JSON.parse(process.argv[1]);
  const settings = readSettings({ KERNELYARD_AUTH: "none", ...given });
  const openFleet = await loadFleet(settings).catch(() => "loaded");
  const { cache } = createRequire(import.meta.url);
  const names = ["ioredis", "undici"].filter((name) => Object.keys(cache).some((path) => path.includes("/node_modules/" + name + "/")));
  console.log(JSON.stringify({ fleet: openFleet === null ? "none" : "one", names, parts: [typeof assemble, typeof createJsonReader] }));
  process.exit(0);
`;

function loaded(env: Record<string, string>): unknown {
  const args = ["--input-type=module", "-e", PROGRAM, JSON.stringify(env)];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" }));
}

it("loads neither the client of an engine nor that of other hosts; a host of a fleet loads both", () => {
  expect(loaded({})).toMatchObject({ fleet: "none", names: [] });
  const fleet = {
    KERNELYARD_FLEET_URL: "redis://127.0.0.1:1",
    KERNELYARD_FLEET_ADDRESS: "127.0.0.1:1",
    KERNELYARD_FLEET_KEY: "the same for all hosts of the fleet",
    KERNELYARD_FILE_STORE: "s3",
    KERNELYARD_S3_BUCKET: "files",
    KERNELYARD_S3_REGION: "eu-central-1",
  };
  expect(loaded(fleet)).toMatchObject({ fleet: "one", names: ["ioredis", "undici"] });
});
