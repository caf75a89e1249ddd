/** `npm run doctor` on this machine: what it says is what its probes saw, and it leaves nothing. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import Docker from "dockerode";
import { afterEach, expect, test } from "vitest";

const MAIN = fileURLToPath(new URL("../../../gateway/cli/doctor/main.ts", import.meta.url));
const docker = new Docker();

function doctor(env: Readonly<Record<string, string>> = {}): Promise<{ code: unknown; report: string[] }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN], { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, report: `${stdout}${stderr}`.trim().split("\n") });
    });
  });
}

/** The findings' states by title. */
function states(report: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    report.flatMap((line) => {
      const [, state, title] = /^(ok|weaker|missing) +(\S.*?) {2,}/.exec(line) ?? [];
      return state === undefined || title === undefined ? [] : [[title, state]];
    }),
  );
}

afterEach(async () => {
  const filters = { label: ["kernelyard.instance=doctor"] };
  expect(await docker.listContainers({ all: true, filters })).toEqual([]);
  expect((await docker.listVolumes({ filters })).Volumes).toEqual([]);
});

test("a host that the tests run on is ready", async () => {
  const { code, report } = await doctor();
  expect(report.join("\n")).not.toMatch(/^missing/m);
  expect(states(report)).toMatchObject({
    "kernel of the sandbox": "ok",
    "seccomp in effect inside": "ok",
    "no privileges": "ok",
    "no network": "ok",
    "loopback interface": "ok",
    "read-only root": "ok",
    libraries: "ok",
    "memory limit": "ok",
    "process limit": "ok",
    "data directory of fresh sandboxes": "ok",
    "size of session volumes": "ok",
    "sessions that sleep": "ok",
  });
  expect([code, report.at(-1)]).toEqual([0, expect.stringMatching(/^Ready/)]);
});

test("without gVisor the kernel that the probe sees is the host's, which is weaker", async () => {
  const { code, report } = await doctor({ KERNELYARD_ISOLATION: "runc-unsafe" });
  expect(states(report)["kernel of the sandbox"]).toBe("weaker");
  expect([code, report.at(-1)]).toEqual([0, expect.stringMatching(/weaker than designed\.$/)]);
});

test("an image that the engine does not have is missing, with the command that builds it", async () => {
  const { code, report } = await doctor({ KERNELYARD_IMAGE: "no-such-image:latest" });
  expect(states(report)["sandbox image"]).toBe("missing");
  expect(report.join("\n")).toContain("sandbox-image/tools/build.ts");
  expect([code, report.at(-1)]).toEqual([1, expect.stringMatching(/^Not ready: 1 missing/)]);
});
