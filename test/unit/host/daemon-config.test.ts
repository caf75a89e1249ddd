import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CHECKPOINT_RUNTIME_NAME, RUNTIME_ARGUMENTS, RUNTIME_NAME } from "../../../gateway/host/isolation.ts";

const HOST = join(import.meta.dirname, "../../../gateway/host");
/** As install.sh does: the system's own, which is faster than one of a version manager. */
const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
const OURS = { path: "/opt/runsc", runtimeArgs: [...RUNTIME_ARGUMENTS] };

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "kernelyard-daemon-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const config = () => join(directory, "daemon.json");

function merge(existing: unknown, ...flags: string[]) {
  if (existing !== undefined) {
    writeFileSync(config(), typeof existing === "string" ? existing : JSON.stringify(existing));
  }
  const result = spawnSync(
    PYTHON,
    [
      join(HOST, "daemon_config.py"),
      `--config=${config()}`,
      `--runtime=${HOST}/runtime.json`,
      `--stamp=${directory}/stamp.json`,
      "--path=/opt/runsc",
      ...flags,
    ],
    { encoding: "utf8" },
  );
  const after: unknown =
    existsSync(config()) && result.status === 0 ? JSON.parse(readFileSync(config(), "utf8")) : null;
  return { status: result.status, lines: result.stdout.trim().split("\n"), error: result.stderr, after };
}

describe("daemon.json", () => {
  test("a machine without one gets the runtime and live-restore, by reload alone", () => {
    const { status, lines, after } = merge(undefined);
    expect(status).toBe(0);
    expect(lines).toEqual(["reload", `runtimes.${RUNTIME_NAME}`, "live-restore"]);
    expect(after).toEqual({ runtimes: { [RUNTIME_NAME]: OURS }, "live-restore": true });
  });

  test("the checkpoint runtime is an entry of its own, always with our arguments, by reload alone", () => {
    const adopted = { path: "/usr/bin/runsc", runtimeArgs: [...RUNTIME_ARGUMENTS, "--debug"] };
    const present = { runtimes: { [RUNTIME_NAME]: adopted }, "live-restore": true };
    const script = "--checkpoint-path=/opt/runsc-checkpoint";
    const { lines, after } = merge(present, script);
    expect(lines).toEqual(["reload", `runtimes.${CHECKPOINT_RUNTIME_NAME}`]);
    expect(after).toEqual({
      runtimes: {
        [RUNTIME_NAME]: adopted,
        [CHECKPOINT_RUNTIME_NAME]: { ...OURS, path: "/opt/runsc-checkpoint" },
      },
      "live-restore": true,
    });
    expect(merge(undefined, script).lines).toEqual(["none"]);
    const other = merge(undefined, "--checkpoint-path=/opt/2/runsc-checkpoint");
    expect(other.lines).toEqual(["reload", `runtimes.${CHECKPOINT_RUNTIME_NAME}`]);
  });

  test("a second run changes nothing", () => {
    merge(undefined);
    const before = readFileSync(config(), "utf8");
    expect(merge(undefined).lines).toEqual(["none"]);
    expect(readFileSync(config(), "utf8")).toBe(before);
  });

  test("foreign keys, runtimes and choices stay as they were", () => {
    const foreign = {
      "registry-mirrors": ["https://mirror.example"],
      "live-restore": false,
      runtimes: { kata: { path: "/usr/bin/kata-runtime" } },
    };
    expect(merge(foreign).after).toEqual({
      ...foreign,
      runtimes: { ...foreign.runtimes, [RUNTIME_NAME]: OURS },
    });
  });

  test("somebody else's runtime without --oci-seccomp is a conflict, and nothing is written", () => {
    const foreign = { runtimes: { [RUNTIME_NAME]: { path: "/usr/bin/runsc" } } };
    const { status, error } = merge(foreign);
    expect(status).toBe(3);
    expect(error).toContain("--oci-seccomp");
    expect(error).toContain("--adopt-runsc");
    expect(JSON.parse(readFileSync(config(), "utf8"))).toEqual(foreign);
  });

  test("adopting it keeps its program, its own arguments and its network", () => {
    const entry = { path: "/usr/bin/runsc", runtimeArgs: ["--debug", "-oci-seccomp=true"] };
    const { after } = merge({ runtimes: { [RUNTIME_NAME]: entry }, "live-restore": true }, "--adopt-runsc");
    expect(after).toMatchObject({
      runtimes: {
        [RUNTIME_NAME]: {
          path: "/usr/bin/runsc",
          runtimeArgs: [
            ...entry.runtimeArgs,
            ...RUNTIME_ARGUMENTS.filter((a) => !/^--(oci-seccomp|network)/.test(a)),
          ],
        },
      },
    });
  });

  test.each([[["--oci-seccomp"]], [["--oci-seccomp", "--network=sandbox"]]])(
    "somebody else's runtime that has what is essential is left alone: %s",
    (runtimeArgs) => {
      const entry = { path: "/usr/bin/runsc", runtimeArgs };
      expect(merge({ runtimes: { [RUNTIME_NAME]: entry }, "live-restore": true }).lines).toEqual(["none"]);
    },
  );

  test.each(["--network=host", "--oci-seccomp=false", "--host-uds=open"])(
    "%s is refused even when adopting",
    (argument) => {
      const entry = { path: "/usr/bin/runsc", runtimeArgs: [argument] };
      const { status, error } = merge({ runtimes: { [RUNTIME_NAME]: entry } }, "--adopt-runsc");
      expect(status).toBe(3);
      expect(error).toContain(argument);
    },
  );

  test("what Kernelyard wrote before is brought up to date", () => {
    const old = { path: "/old/runsc", runtimeArgs: ["--platform=systrap"] };
    writeFileSync(join(directory, "stamp.json"), JSON.stringify(old));
    const { after } = merge({ runtimes: { [RUNTIME_NAME]: old }, "live-restore": true });
    expect(after).toMatchObject({ runtimes: { [RUNTIME_NAME]: OURS } });
  });

  test("a dedicated host is hardened, which needs a restart; the operator's log driver stays", () => {
    const { lines, after } = merge({ "log-driver": "journald" }, "--dedicated");
    expect(lines[0]).toBe("restart");
    expect(after).toMatchObject({
      "log-driver": "journald",
      icc: false,
      "no-new-privileges": true,
      "userland-proxy": false,
    });
    expect(after).not.toHaveProperty("log-opts");
  });

  test("keys of the daemon's command line are left out", () => {
    expect(merge(undefined, "--untouched=live-restore,").after).not.toHaveProperty("live-restore");
  });

  test.each(["{", "[]", '{"runtimes": []}'])("%s is refused with its name", (text) => {
    const { status, error } = merge(text);
    expect(status).toBe(3);
    expect(error).toContain("daemon.json");
    expect(readFileSync(config(), "utf8")).toBe(text);
  });

  test("the running engine is compared with the file", () => {
    merge(undefined);
    const loaded = (entry: object) =>
      spawnSync(
        PYTHON,
        [
          join(HOST, "daemon_config.py"),
          `--config=${config()}`,
          `--runtime=${HOST}/runtime.json`,
          "--stamp=/dev/null",
          "--loaded",
        ],
        { input: JSON.stringify({ Runtimes: { [RUNTIME_NAME]: entry } }) },
      ).status;
    expect(loaded(OURS)).toBe(0);
    expect(loaded({ ...OURS, runtimeArgs: ["--platform=systrap"] })).toBe(1);
  });
});
