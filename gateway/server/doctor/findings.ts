/** What the doctor says, decided from what the probes saw. Pure. */
import { z } from "@hono/zod-openapi";
import type { DiskSpace } from "../../common/disk-space.ts";
import { INSTALL_COMMAND } from "../../host/isolation.ts";

/** `weaker`: it works, with less than designed. `missing`: required, and not there. */
export interface Finding {
  readonly state: "ok" | "weaker" | "missing";
  readonly title: string;
  readonly detail: string;
  /** The command that repairs it. */
  readonly remedy?: string;
}

/** The command that makes the sandbox image anew. */
export const BUILD_IMAGE = "npx node sandbox-image/tools/build.ts";

export const Confinement = z.object({
  kernel: z.string(),
  uid: z.number().int(),
  seccomp: z.string(),
  capabilities: z.string(),
  no_new_privileges: z.string(),
  calls: z.record(z.string(), z.string()),
  network: z.string(),
  loopback: z.array(z.string()),
  root_writable: z.array(z.string()),
  threads: z.boolean(),
  libraries: z.record(z.string(), z.string()),
});
export type Confinement = z.infer<typeof Confinement>;

export const MemoryProbe = z.object({ survived_bytes: z.number() });
export const ProcessesProbe = z.object({ started: z.number() });
export const WriteProbe = z.object({ written_bytes: z.number() });

export const ok = (title: string, detail: string): Finding => ({ state: "ok", title, detail });
export const weaker = (title: string, detail: string, remedy: string): Finding => ({
  state: "weaker",
  title,
  detail,
  remedy,
});
export const missing = (title: string, detail: string, remedy: string): Finding => ({
  state: "missing",
  title,
  detail,
  remedy,
});

const required = (holds: boolean, title: string, good: string, bad: string, remedy: string): Finding =>
  holds ? ok(title, good) : missing(title, bad, remedy);

/** `sessions`: how many volumes could be filled at the same time beside the reserve. */
export function diskFinding(space: DiskSpace, sessions: number): Finding {
  const gib = (bytes: number) => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
  const { freeBytes, reserveBytes } = space;
  const detail = `${gib(freeBytes)} free of ${gib(space.totalBytes)}, ${gib(reserveBytes)} of them kept, room for ${sessions} full session volumes`;
  const remedy =
    "free space in KERNELYARD_DATA_DIR, or lower KERNELYARD_DISK_RESERVE or KERNELYARD_SESSION_DISK";
  return sessions > 0 ? ok("disk", detail) : missing("disk", detail, remedy);
}

/** `problem`: why the engine cannot save and restore sandboxes. That it can, each start of the launcher proves. */
export function checkpointFinding(
  problem: string | null,
  { arch, checkpoints }: { readonly arch: string; readonly checkpoints: "auto" | "off" },
): Finding {
  const title = "sessions that sleep";
  if (checkpoints === "off") return ok(title, "not asked for (KERNELYARD_CHECKPOINTS=off)");
  if (arch !== "x64") return ok(title, `not on ${arch}: idle sessions end, and lose their variables`);
  if (problem === null) return ok(title, "the engine has the runtime that saves and restores them");
  return weaker(title, `idle sessions end, and lose their variables: ${problem}`, INSTALL_COMMAND);
}

export function confinementFindings(facts: Confinement, isolation: "runsc" | "runc-unsafe"): Finding[] {
  const calls = Object.entries(facts.calls);
  const allowed = calls
    .filter(([, result]) => result !== "EPERM")
    .map(([name, result]) => `${name}: ${result}`);
  const broken = Object.entries(facts.libraries).filter(([, version]) => version.startsWith("error:"));
  return [
    runtimeFinding(facts.kernel, isolation),
    required(
      facts.seccomp === "2" && allowed.length === 0 && calls.length > 0,
      "seccomp in effect inside",
      `refused: ${calls.map(([name]) => name).join(", ")}`,
      calls.length === 0
        ? "the calls of this processor are not known to the probe"
        : `filter mode ${facts.seccomp}, not refused: ${allowed.join(", ") || "none"}`,
      INSTALL_COMMAND,
    ),
    required(
      facts.uid !== 0 && /^0*$/.test(facts.capabilities) && facts.no_new_privileges === "1",
      "no privileges",
      `user ${facts.uid}, no capabilities, none to be gained`,
      `user ${facts.uid}, capabilities ${facts.capabilities}, no_new_privs ${facts.no_new_privileges}`,
      INSTALL_COMMAND,
    ),
    required(facts.network === "none", "no network", "loopback only", facts.network, INSTALL_COMMAND),
    facts.loopback.length === 2
      ? ok("loopback interface", facts.loopback.join(" and "))
      : weaker(
          "loopback interface",
          `programs reach themselves at ${facts.loopback.join(" and ") || "no address"}: local servers do not work`,
          `${INSTALL_COMMAND}; another owner's runtime \`runsc\` needs --network=none in daemon.json`,
        ),
    required(
      facts.root_writable.length === 0,
      "read-only root",
      "nothing outside the data directory and /tmp can be written",
      `writable: ${facts.root_writable.join(", ")}`,
      BUILD_IMAGE,
    ),
    required(facts.threads, "threads", "they start", "a thread does not start", INSTALL_COMMAND),
    required(
      broken.length === 0,
      "libraries",
      Object.entries(facts.libraries)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
      broken.map(([name, error]) => `${name}: ${error}`).join("; "),
      BUILD_IMAGE,
    ),
  ];
}

function runtimeFinding(kernel: string, isolation: "runsc" | "runc-unsafe"): Finding {
  const title = "kernel of the sandbox";
  // gVisor names its own kernel; the name alone could be set by others, so the engine's inspection is a check of its own.
  const gvisor = /-gvisor\b/.test(kernel);
  const short = kernel.split(" (")[0] ?? kernel;
  if (isolation === "runc-unsafe") {
    return weaker(title, `the host's own (${short})`, "unset KERNELYARD_ISOLATION");
  }
  return required(gvisor, title, `gVisor's (${short})`, `not gVisor's: ${short}`, INSTALL_COMMAND);
}

/** `null`: the sandbox ended before it could answer. */
export function memoryFinding(survived: z.infer<typeof MemoryProbe> | null, limitBytes: number): Finding {
  return required(
    survived === null || survived.survived_bytes <= limitBytes,
    "memory limit",
    `a sandbox that takes more than its ${mib(limitBytes)} is ended`,
    `a sandbox of ${mib(limitBytes)} holds ${mib(survived?.survived_bytes ?? 0)}`,
    "mount the memory controller of the control groups, then restart the engine",
  );
}

export function processesFinding(seen: z.infer<typeof ProcessesProbe> | null, limit: number): Finding {
  return required(
    seen === null || seen.started < limit,
    "process limit",
    seen === null ? "a fork bomb ends its own sandbox" : `forking ends at ${seen.started} of ${limit}`,
    `a sandbox with a limit of ${limit} started ${seen?.started ?? 0} processes`,
    "mount the pids controller of the control groups, then restart the engine",
  );
}

export function freshDiskFinding(seen: z.infer<typeof WriteProbe>, limitBytes: number): Finding {
  return required(
    seen.written_bytes > 0 && seen.written_bytes <= limitBytes,
    "data directory of fresh sandboxes",
    `full at ${mib(limitBytes)}`,
    `${mib(seen.written_bytes)} written where ${mib(limitBytes)} should fit`,
    INSTALL_COMMAND,
  );
}

export function sessionDiskFinding(
  seen: z.infer<typeof WriteProbe> | null,
  limitBytes: number,
  noQuota: string | null,
): Finding {
  const title = "size of session volumes";
  if (noQuota !== null || seen === null) {
    return weaker(title, `no hard limit: ${noQuota ?? "the volume could not be written"}`, "modprobe loop");
  }
  return required(
    seen.written_bytes > 0 && seen.written_bytes <= limitBytes,
    title,
    `a hard limit (an ext4 image behind a loop device; probed with ${mib(limitBytes)})`,
    `${mib(seen.written_bytes)} written where ${mib(limitBytes)} should fit`,
    "modprobe loop",
  );
}

export function mib(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MiB`;
}

/** The report as lines of text. */
export function render(findings: readonly Finding[]): string[] {
  const width = Math.max(...findings.map((finding) => finding.title.length));
  return findings.flatMap((finding) => [
    `${finding.state.padEnd(7)}  ${finding.title.padEnd(width)}  ${finding.detail}`,
    ...(finding.remedy === undefined ? [] : [`${" ".repeat(9)}→ ${finding.remedy}`]),
  ]);
}

export function summary(findings: readonly Finding[]): string {
  const count = (state: Finding["state"]) => findings.filter((finding) => finding.state === state).length;
  if (count("missing") > 0) return `Not ready: ${count("missing")} missing, ${count("weaker")} weaker.`;
  return count("weaker") > 0
    ? `Ready, with ${count("weaker")} weaker than designed.`
    : `Ready: all ${findings.length} checks are ok.`;
}
