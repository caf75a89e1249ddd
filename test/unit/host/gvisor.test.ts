/** Which gVisor install.sh takes, with runsc programs and a release of the test's own. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const HOST = join(import.meta.dirname, "../../../gateway/host");
const RUNSC = "#!/bin/sh\n[ \"$1\" != flags ] || echo 'systrap -oci-seccomp -host-uds -host-fifo'\n";

let folder = "";
const put = (path: string, text: string) => {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
  chmodSync(join(folder, path), 0o755);
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kernelyard-gvisor-"));
  // On PATH, configured as the runtime, and what root alone can do.
  put("bin/runsc", RUNSC);
  put("bin/setpriv", "exit 0\n");
  put(
    "bin/curl",
    `#!/bin/sh
for word in "$@"; do
  [ "$before" != -o ] || to=$word
  before=$word
done
exec cp "${folder}/mirror/\${word##*/}" "\${to:-/dev/stdout}"
`,
  );
  put("daemon.json", JSON.stringify({ runtimes: { runsc: { path: join(folder, "bin/runsc") } } }));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A release with a runsc that says which it is; its archive's hash. */
function release(name: string): string {
  put("mirror/gvisor/runsc", `${RUNSC}# ${name}\n`);
  const archive = join(folder, "mirror/gvisor.tar.bz2");
  execFileSync("/usr/bin/python3", ["-m", "tarfile", "-c", archive, "gvisor"], {
    cwd: join(folder, "mirror"),
  });
  const hash = createHash("sha512").update(readFileSync(archive)).digest("hex");
  put("mirror/gvisor.tar.bz2.sha512", `${hash}  gvisor.tar.bz2\n`);
  return hash;
}

function found(pin: string) {
  const script = `
set -euo pipefail
. "$HERE/lib/say.sh"
. "$HERE/lib/gvisor.sh"
GVISOR_FOLDER=$FOLDER/gvisor GVISOR_URL=http://mirror GVISOR_SHA512=$PIN
PYTHON=/usr/bin/python3 CONFIG=$FOLDER/daemon.json STAMP=$FOLDER/stamp.json
find_runsc >&2
printf %s "$RUNSC"`;
  const { status, stdout, stderr } = spawnSync("bash", ["-c", script], {
    encoding: "utf8",
    env: { ...process.env, HERE: HOST, FOLDER: folder, PIN: pin, PATH: `${folder}/bin:${process.env.PATH}` },
  });
  return { status, runsc: stdout, said: stderr };
}
const which = (runsc: string) => /# (\w+)/.exec(readFileSync(runsc, "utf8"))?.[1];

test("without a hash what is in use stays", () => {
  expect(found("")).toMatchObject({ status: 0, runsc: join(folder, "bin/runsc") });
});

test("a hash binds whatever is found first, and another one is an update", () => {
  const old = release("old");
  const first = found(old);
  expect(which(first.runsc), first.said).toBe("old");
  const young = release("young");
  expect(which(found(young).runsc)).toBe("young");
  // What is there is not fetched again.
  rmSync(join(folder, "mirror"), { recursive: true });
  expect(which(found(old).runsc)).toBe("old");
  expect(found(young)).toMatchObject({ status: 0, said: "" });
});

test("nothing is taken in place of what the hash names", () => {
  release("other");
  const { status, runsc, said } = found("0".repeat(128));
  expect([status, runsc]).toEqual([1, ""]);
  expect(said).toContain("but --gvisor-sha512 says 000000");
  rmSync(join(folder, "mirror"), { recursive: true });
  expect(found("0".repeat(128))).toMatchObject({
    status: 1,
    said: expect.stringContaining("could not be installed"),
  });
});
