import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  checkpointRuntimeProblem,
  HOST_FILES,
  INSTALL_COMMAND,
  insideProblems,
  isolationProblems,
  RUNTIME_ARGUMENTS,
  RUNTIME_NAME,
  SHIPPED_SECCOMP_PROFILE,
} from "../../../gateway/host/isolation.ts";
import {
  checkpointFinding,
  confinementFindings,
  diskFinding,
  memoryFinding,
  processesFinding,
  render,
  sessionDiskFinding,
  summary,
} from "../../../gateway/server/doctor/findings.ts";

const good = {
  runtimes: { [RUNTIME_NAME]: { runtimeArgs: RUNTIME_ARGUMENTS } },
  installedProfile: SHIPPED_SECCOMP_PROFILE,
};

describe("isolation inside a sandbox", () => {
  const inside =
    "Linux version 4.19.0-gvisor #1\nUid:\t10001\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
  test("is as it should be", () => expect(insideProblems(inside, { gvisor: true })).toEqual([]));

  test.each([
    ["not gVisor", inside.replace("4.19.0-gvisor", "6.1.0-generic")],
    ["Seccomp: 0", inside.replace("Seccomp:\t2", "Seccomp:\t0")],
    ["privileges", inside.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0")],
    ["capabilities", inside.replace("CapEff:\t00", "CapEff:\t20")],
    ["Seccomp: missing", "Linux version 4.19.0-gvisor #1\n"],
  ])("lacks something: %s", (what, said) => {
    expect(insideProblems(said, { gvisor: true }).join()).toContain(what);
  });

  test("without gVisor any kernel will do, and nothing else is let off", () => {
    const said = inside.replace("4.19.0-gvisor", "6.1.0-generic");
    expect(insideProblems(said, { gvisor: false })).toEqual([]);
    expect(insideProblems("", { gvisor: false })).toHaveLength(3);
  });
});

describe("isolation of a host", () => {
  test("an installed host has no problem", () => expect(isolationProblems(good)).toEqual([]));

  test("a runtime that other containers share may keep their network", () => {
    const runtimeArgs = RUNTIME_ARGUMENTS.map((argument) =>
      argument === "--network=none" ? "--network=sandbox" : argument,
    );
    expect(isolationProblems({ ...good, runtimes: { [RUNTIME_NAME]: { runtimeArgs } } })).toEqual([]);
  });

  test.each([
    ["no-runtime", { ...good, runtimes: { runc: {} } }],
    ["runtime-arguments", { ...good, runtimes: { [RUNTIME_NAME]: { runtimeArgs: ["--platform=systrap"] } } }],
    [
      "runtime-arguments",
      { ...good, runtimes: { [RUNTIME_NAME]: { runtimeArgs: ["--oci-seccomp=false"] } } },
    ],
    [
      "runtime-arguments",
      { ...good, runtimes: { [RUNTIME_NAME]: { runtimeArgs: ["-oci-seccomp", "--network=host"] } } },
    ],
    ["no-profile", { ...good, installedProfile: null }],
    ["changed-profile", { ...good, installedProfile: `${SHIPPED_SECCOMP_PROFILE} ` }],
  ])("%s", (id, facts) => {
    expect(isolationProblems(facts).map((problem) => problem.id)).toEqual([id]);
  });

  const folder = join(import.meta.dirname, "../../../gateway/host");

  test("every file that a remote host gets is there", () => {
    for (const file of HOST_FILES) expect(existsSync(join(folder, file)), file).toBe(true);
  });

  test("a remote host gets every file that its scripts name", () => {
    const scripts = HOST_FILES.filter((file) => file.endsWith(".sh"));
    const named = scripts.flatMap((script) =>
      [...readFileSync(join(folder, script), "utf8").matchAll(/\$\{?HERE\}?\/([\w./-]+)/g)].map(
        ([, path]) => path ?? "",
      ),
    );
    expect(named).toContain("daemon_config.py");
    // A name that ends at a variable stands for the whole folder.
    const files = named.flatMap((name) =>
      name.endsWith("/") ? readdirSync(join(folder, name)).map((file) => `${name}${file}`) : [name],
    );
    expect(files.filter((file) => !HOST_FILES.some((known) => known === file))).toEqual([]);
  });
});

describe("the doctor", () => {
  const facts = {
    kernel: "Linux version 4.19.0-gvisor #1 SMP",
    uid: 10001,
    seccomp: "2",
    capabilities: "0000000000000000",
    no_new_privileges: "1",
    calls: { keyctl: "EPERM" },
    network: "none",
    loopback: ["127.0.0.1", "::1"],
    root_writable: [],
    threads: true,
    libraries: { numpy: "2.4" },
  };
  const states = (change: object) =>
    confinementFindings({ ...facts, ...change }, "runsc")
      .filter((finding) => finding.state !== "ok")
      .map((finding) => finding.title);

  test("all is well", () => expect(states({})).toEqual([]));

  test.each([
    ["kernel of the sandbox", { kernel: "Linux version 6.1.0 (debian)" }],
    ["seccomp in effect inside", { seccomp: "0" }],
    ["seccomp in effect inside", { calls: { keyctl: "EPERM", unshare: "ok" } }],
    ["no privileges", { uid: 0 }],
    ["no privileges", { capabilities: "00000000a80425fb" }],
    ["no network", { network: "interfaces: eth0" }],
    ["loopback interface", { loopback: ["127.0.0.1"] }],
    ["read-only root", { root_writable: ["/etc"] }],
    ["threads", { threads: false }],
    ["libraries", { libraries: { numpy: "error: no such module" } }],
  ])("%s is missed", (title, change) => expect(states(change)).toEqual([title]));

  test("says whether sessions sleep, and why not", () => {
    const state = (problem: string | null, checkpoints: "auto" | "off" = "auto", arch = "x64") =>
      checkpointFinding(problem, { arch, checkpoints });
    expect(state(null)).toMatchObject({ state: "ok" });
    const bare = checkpointRuntimeProblem(good.runtimes);
    expect(state(bare)).toMatchObject({
      state: "weaker",
      detail: expect.stringContaining("no runtime `runsc-checkpoint`"),
      remedy: INSTALL_COMMAND,
    });
    expect(state(bare, "off")).toMatchObject({ state: "ok", detail: expect.stringContaining("not asked") });
    expect(state(bare, "auto", "arm64")).toMatchObject({
      state: "ok",
      detail: expect.stringContaining("end"),
    });
  });

  test("limits count only when they hold", () => {
    expect(memoryFinding(null, 100).state).toBe("ok");
    expect(memoryFinding({ survived_bytes: 200 }, 100).state).toBe("missing");
    expect(processesFinding({ started: 512 }, 512).state).toBe("missing");
    expect(sessionDiskFinding({ written_bytes: 90 }, 100, null).state).toBe("ok");
    expect(sessionDiskFinding({ written_bytes: 200 }, 100, null).state).toBe("missing");
    expect(sessionDiskFinding(null, 100, "no loop devices").state).toBe("weaker");
  });

  test("runc is weaker, never ok; every problem has a remedy", () => {
    const findings = confinementFindings(facts, "runc-unsafe");
    expect(findings[0]?.state).toBe("weaker");
    expect(render(findings)[1]).toContain("KERNELYARD_ISOLATION");
    expect(summary(findings)).toBe("Ready, with 1 weaker than designed.");
  });
});

test.each([
  [20, "ok", "20.0 GiB free of 100.0 GiB, 5.0 GiB of them kept, room for 15 full session volumes"],
  [5, "missing", "5.0 GiB free of 100.0 GiB, 5.0 GiB of them kept, room for 0 full session volumes"],
])("a disk with %i GiB free is %s", (free, state, detail) => {
  const gib = 1024 ** 3;
  const space = { totalBytes: 100 * gib, freeBytes: free * gib, reserveBytes: 5 * gib };
  expect(diskFinding(space, free - 5)).toMatchObject({ state, title: "disk", detail });
});
