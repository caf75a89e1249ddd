/**
 * The mirror of wheels is one folder for everybody: no sandbox may change it, and what one session installs is its own.
 * The folder's mode lets everybody write, so that nothing but the mount protects it; where that is writable, the same probe succeeds.
 */
import { createHash } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHECKSUMS } from "../../gateway/common/wheels.ts";
import { WHEELS_MOUNT } from "../../gateway/launcher/spec/container-rules.ts";
import { mustDocker } from "../../sandbox-image/tools/engine.ts";
import { type Stack, startStack } from "../support/stack.ts";
import { writeWheels } from "../support/wheels.ts";

const WHEEL = "yard_leaf-1.0-py3-none-any.whl";
const mirror = mkdtempSync(join(tmpdir(), "mirror-attack-"));

/** Each prints REACHED when the mirror could be changed. */
const PROBES = {
  "a new file": `open("${WHEELS_MOUNT}/evil-1.0-py3-none-any.whl", "wb").write(b"x")`,
  "another content": `open("${WHEELS_MOUNT}/${WHEEL}", "ab").write(b"x")`,
  "another length": `import os; os.truncate("${WHEELS_MOUNT}/${WHEEL}", 0)`,
  "a removal": `import os; os.unlink("${WHEELS_MOUNT}/${WHEEL}")`,
  "another name": `import os; os.rename("${WHEELS_MOUNT}/${WHEEL}", "${WHEELS_MOUNT}/other.whl")`,
  "a link into it": `import os; os.symlink("/etc/passwd", "${WHEELS_MOUNT}/link-1.0-py3-none-any.whl")`,
  "a mapping": `import mmap; file = open("${WHEELS_MOUNT}/${WHEEL}", "r+b"); mmap.mmap(file.fileno(), 0)[0] = 0`,
} as const;

let stack: Stack;
let before: string;

const state = () =>
  readdirSync(mirror)
    .sort()
    .map(
      (file) =>
        `${file} ${createHash("sha256")
          .update(readFileSync(join(mirror, file)))
          .digest("hex")}`,
    )
    .join("\n");

function fill(): void {
  for (const file of readdirSync(mirror)) rmSync(join(mirror, file));
  writeWheels(mirror, [{ name: "yard_leaf", version: "1.0", module: "value = 1" }]);
  const sum = createHash("sha256")
    .update(readFileSync(join(mirror, WHEEL)))
    .digest("hex");
  writeFileSync(join(mirror, CHECKSUMS), `${sum}  ${WHEEL}\n`);
  chmodSync(mirror, 0o777);
  chmodSync(join(mirror, WHEEL), 0o666);
}

beforeAll(async () => {
  fill();
  before = state();
  stack = await startStack({ env: { KERNELYARD_WHEELS: mirror } });
});
afterAll(async () => {
  await stack?.stop();
  rmSync(mirror, { recursive: true, force: true });
});

const run = async (session: string, code: string) =>
  (await stack.post("/run", { session_id: session, code })).json();

describe("the mirror of wheels", () => {
  it.each(Object.entries(PROBES))("is not changed by %s", async (_what, probe) => {
    const outcome = await run("attacker", `${probe}\nprint("REACHED")`);
    expect(outcome).toMatchObject({
      stdout: "",
      stderr: expect.stringMatching(/Read-only file system|Permission denied/),
    });
    expect(state()).toBe(before);
  });

  it.each(Object.entries(PROBES))(
    "is changed by %s where its mount can be written to",
    async (_what, probe) => {
      fill();
      const said = await mustDocker("The probe without its control", [
        ...["run", "--rm", "--pull=never", "--runtime=runsc", "--network=none", "--log-driver=none"],
        ...[`--volume=${mirror}:${WHEELS_MOUNT}`, "--entrypoint=/opt/python/bin/python3.11"],
        ...[process.env.KERNELYARD_IMAGE ?? "custom-rce-kernel:latest", "-c", `${probe}\nprint("REACHED")`],
      ]);
      expect(said.trim()).toBe("REACHED");
      expect(state()).not.toBe(before);
      fill();
    },
  );

  it("gives a session what nobody else has", async () => {
    const use = "import yard_leaf; print(yard_leaf.value)";
    expect(await run("one", `%pip install -q yard_leaf\n${use}`)).toMatchObject({
      stdout: expect.stringContaining("1\n"),
    });
    expect(await run("one", use)).toMatchObject({ stdout: "1\n" });
    expect(await run("two", use)).toMatchObject({
      stdout: "",
      stderr: expect.stringContaining("No module named"),
    });
    const fresh = await (await stack.post("/v1/exec", { lang: "py", code: use })).json();
    expect(fresh).toMatchObject({ stdout: "", stderr: expect.stringContaining("No module named") });
  });
});
