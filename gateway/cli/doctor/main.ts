/**
 * `npm run doctor`: says what this host guarantees, and proves it by running it. Exit code 1 when something that is
 * required is missing. It changes nothing: its containers and its volume are gone when it ends.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DiskReserve } from "../../common/disk-space.ts";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import { readSettings, type Settings, SettingsError } from "../../common/settings/read.ts";
import {
  checkpointRuntimeProblem,
  INSTALL_COMMAND,
  installedProfile,
  isolationProblems,
  profileProblem,
  RUNTIME_NAME,
  SERVICE_USER,
  SHIPPED_SECCOMP_SHA256,
} from "../../host/isolation.ts";
import {
  DockerEngine,
  type Engine,
  EngineAwayError,
  EngineRefusedError,
} from "../../launcher/engine/engine.ts";
import { newId, volumeName } from "../../launcher/engine/labels.ts";
import { type Ceilings, DATA_MOUNT } from "../../launcher/spec/create-body.ts";
import { Volumes } from "../../launcher/volumes/volumes.ts";
import {
  BUILD_IMAGE,
  Confinement,
  checkpointFinding,
  confinementFindings,
  diskFinding,
  type Finding,
  freshDiskFinding,
  MemoryProbe,
  memoryFinding,
  missing,
  ok,
  ProcessesProbe,
  processesFinding,
  render,
  sessionDiskFinding,
  summary,
  WriteProbe,
  weaker,
} from "../../server/doctor/findings.ts";
import { PROBED_LIBRARIES } from "../../server/doctor/probe.ts";
import { fleetFindings } from "./fleet.ts";
import { type ProbeSettings, runProbe } from "./probe-sandbox.ts";

const MIB = 1024 * 1024;
/** Small, so that reaching a limit takes a moment; enforced in the same way as the real ones. */
const PROBE_MEMORY = 256 * MIB;
const PROBE_DISK = 32 * MIB;
const PROBE_PIDS = 512;

/** The engine and what it says; `null` when it cannot be asked, which ends the examination. */
async function engineFindings(engine: Engine, settings: Settings): Promise<[Finding[], boolean]> {
  try {
    const { version, runtimes } = await engine.version();
    const findings = [ok("engine", `Docker ${version} at ${settings.dockerSocket}`)];
    if (settings.isolation === "runc-unsafe") return [findings, true];
    const [problem] = isolationProblems({ runtimes, installedProfile: null }).filter(
      ({ id }) => id === "no-runtime" || id === "runtime-arguments",
    );
    findings.push(
      problem === undefined
        ? ok("runtime", `${RUNTIME_NAME} at ${runtimes[RUNTIME_NAME]?.path ?? "unknown"}`)
        : missing("runtime", problem.message, problem.remedy),
    );
    findings.push(
      checkpointFinding(checkpointRuntimeProblem(runtimes), {
        arch: process.arch,
        checkpoints: settings.checkpoints,
      }),
    );
    return [findings, problem?.id !== "no-runtime"];
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return [[missing("engine", message, INSTALL_COMMAND)], false];
  }
}

function hostFindings(settings: Settings): Finding[] {
  const problem = profileProblem(installedProfile());
  const findings = [
    problem === null
      ? ok("seccomp profile", `the shipped one, sha256 ${SHIPPED_SECCOMP_SHA256.slice(0, 12)}`)
      : missing("seccomp profile", problem.message, problem.remedy),
  ];
  const title = "service user";
  if (spawnSync("id", [SERVICE_USER]).status !== 0) {
    findings.push(missing(title, `there is no user ${SERVICE_USER}`, INSTALL_COMMAND));
  } else if (process.getuid?.() !== 0) {
    findings.push(weaker(title, "only root can try what the user may do", "sudo npm run doctor"));
  } else {
    const reach = spawnSync("setpriv", [
      `--reuid=${SERVICE_USER}`,
      `--regid=${SERVICE_USER}`,
      "--init-groups",
      "test",
      "-w",
      settings.dockerSocket,
    ]);
    findings.push(
      reach.status === 1
        ? ok(title, `${SERVICE_USER} cannot open the engine's socket`)
        : missing(
            title,
            `${SERVICE_USER} can open the engine's socket, which is as good as being root`,
            `gpasswd --delete ${SERVICE_USER} docker; chmod 0660 ${settings.dockerSocket}`,
          ),
    );
  }
  return findings;
}

async function probeFindings(engine: Engine, settings: Settings, imageId: string): Promise<Finding[]> {
  const ceilings: Ceilings = {
    ...settings,
    memoryBytes: PROBE_MEMORY,
    cpus: 2,
    pids: PROBE_PIDS,
    freshDiskBytes: PROBE_DISK,
    wheels: null,
  };
  const probe: ProbeSettings = { engine, imageId, ceilings };
  const findings: Finding[] = [];
  const roomy = { ...probe, ceilings: { ...ceilings, memoryBytes: settings.memoryBytes } };
  const confinement = await runProbe(roomy, Confinement, ["confinement", ...PROBED_LIBRARIES]);
  if (confinement === null) {
    return [missing("probe sandbox", "it ended without an answer", BUILD_IMAGE)];
  }
  findings.push(...confinementFindings(confinement, settings.isolation));
  findings.push(
    memoryFinding(await runProbe(probe, MemoryProbe, ["memory", String(PROBE_MEMORY)]), PROBE_MEMORY),
    processesFinding(await runProbe(probe, ProcessesProbe, ["processes", String(PROBE_PIDS)]), PROBE_PIDS),
  );
  const full = ["write", DATA_MOUNT, String(2 * PROBE_DISK)];
  const fresh = await runProbe(probe, WriteProbe, full);
  if (fresh !== null) findings.push(freshDiskFinding(fresh, PROBE_DISK));
  findings.push(await sessionDisk(probe, full));
  return findings;
}

/** A session volume of its own, made as the launcher makes them, and removed. */
async function sessionDisk(probe: ProbeSettings, full: readonly string[]): Promise<Finding> {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-doctor-"));
  const volumes = new Volumes({
    directory,
    instance: "doctor",
    sizeBytes: PROBE_DISK,
    engine: probe.engine,
    reserve: new DiskReserve(directory, 0),
    now: Date.now,
  });
  const session: SessionKey = { kind: "runtime", digest: newId().replaceAll("_", "-") };
  try {
    const noQuota = await volumes.prepare();
    if (noQuota !== null) return sessionDiskFinding(null, PROBE_DISK, noQuota);
    const lease = await volumes.acquire(session);
    try {
      const seen = await runProbe(probe, WriteProbe, full, {
        kind: "session",
        session,
        owner: null,
        volume: lease.volume,
        copyOwner: lease.copyOwner,
      });
      return sessionDiskFinding(seen, PROBE_DISK, null);
    } finally {
      await lease.release();
      await volumes.freed(session);
      await volumes.remove(volumeName(session), Number.POSITIVE_INFINITY);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A data directory that is still to be made will be where its parent is. */
function present(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : present(dirname(path));
}

async function examine(settings: Settings): Promise<Finding[]> {
  const engine = new DockerEngine(settings.dockerSocket);
  const findings = hostFindings(settings);
  const space = await new DiskReserve(present(settings.dataDir), settings.diskReserveBytes).space();
  const spare = Math.floor((space.freeBytes - space.reserveBytes) / settings.sessionDiskBytes);
  findings.push(diskFinding(space, Math.max(0, spare)), ...(await fleetFindings(settings)));
  const [engineSays, usable] = await engineFindings(engine, settings);
  findings.push(...engineSays);
  if (!usable) return findings;
  const imageId = await engine.imageId(settings.image);
  if (imageId === null) {
    return [...findings, missing("sandbox image", `the engine has no ${settings.image}`, BUILD_IMAGE)];
  }
  findings.push(ok("sandbox image", `${settings.image}, ${imageId.slice(0, 19)}`));
  for (const { name, image } of settings.profiles ?? []) {
    const title = `sandbox image, profile ${name}`;
    const id = await engine.imageId(image);
    findings.push(
      id === null
        ? missing(title, `the engine has no ${image}`, `${BUILD_IMAGE} --profile ${name}`)
        : ok(title, `${image}, ${id.slice(0, 19)}`),
    );
  }
  try {
    findings.push(...(await probeFindings(engine, settings, imageId)));
  } catch (error) {
    if (!(error instanceof EngineRefusedError || error instanceof EngineAwayError)) throw error;
    findings.push(missing("probe sandbox", error.message, INSTALL_COMMAND));
  }
  return findings;
}

try {
  const findings = await examine(readSettings(process.env));
  process.stdout.write(`${[...render(findings), "", summary(findings)].join("\n")}\n`);
  // An engine that hangs must not keep the examination from ending.
  process.exit(findings.some((finding) => finding.state === "missing") ? 1 : 0);
} catch (error) {
  const text =
    error instanceof SettingsError ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
