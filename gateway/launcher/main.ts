/**
 * The launcher's entry. Signals: SIGTERM, SIGINT and the end of the starter put sessions to sleep, remove this instance's
 * other sandboxes and keep the session volumes; SIGUSR2 leaves the sandboxes running for the next launcher (an upgrade that keeps the kernels);
 * SIGHUP asks again which digest the image's name has.
 */
import { mkdirSync } from "node:fs";
import { totalmem } from "node:os";
import { dirname, join } from "node:path";
import pino, { type Logger } from "pino";
import { DiskReserve } from "../common/disk-space.ts";
import { readSettings, SettingsError } from "../common/settings/read.ts";
import { SteadyClock } from "../common/steady-clock.ts";
import { readMirror, WheelMirrorError } from "../common/wheels.ts";
import { SERVICE_USER } from "../host/isolation.ts";
import { CheckpointStore } from "./checkpoints/store.ts";
import { Counts } from "./counts.ts";
import { DockerEngine } from "./engine/engine.ts";
import { IsolationError, LauncherFailure } from "./errors.ts";
import { InstanceError, openInstance } from "./instance.ts";
import { readSeccompProfile } from "./isolation/probe.ts";
import { Launcher } from "./launcher.ts";
import { serve } from "./server.ts";
import { Volumes } from "./volumes/volumes.ts";

/** Whoever stops it gives it 30 s. */
const REMOVE_ALL_WITHIN_MS = 25_000;
const STDERR = 2;

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const log = pino(
    { name: "launcher", level: settings.logLevel },
    pino.destination({ dest: STDERR, sync: true }),
  );
  if (settings.wheels !== null) log.info(readMirror(settings.wheels), "mirror of wheels");
  // Whatever the launcher creates is its own unless said otherwise.
  process.umask(0o077);
  mkdirSync(settings.dataDir, { recursive: true, mode: 0o755 });
  const instance = openInstance(settings.dataDir);
  const seccomp = readSeccompProfile();
  const counts = new Counts();
  const engine = new DockerEngine(settings.dockerSocket, {
    onCall: (what, outcome, ms) => counts.engineCall(what, outcome, ms),
  });
  const volumes = new Volumes({
    directory: join(settings.dataDir, "volumes"),
    instance: instance.id,
    sizeBytes: settings.sessionDiskBytes,
    engine,
    reserve: new DiskReserve(join(settings.dataDir, "volumes"), settings.diskReserveBytes),
    now: Date.now,
  });
  const problem = await volumes.prepare();
  if (volumes.problem !== null) {
    log.error({ reason: problem }, "session volumes do not work; they are tried again with each session");
  } else if (problem !== null) {
    log.warn({ reason: problem }, "session volumes have no size limit on this host");
  }
  const checkpointStore = await CheckpointStore.open(join(settings.dataDir, "checkpoints"));
  const launcher = new Launcher({
    settings,
    checkpointStore,
    instance: instance.id,
    engine,
    volumes,
    seccomp,
    counts,
    log,
    hostMemoryBytes: totalmem(),
    ageClock: new SteadyClock(join(settings.dataDir, "volumes", "last-seen")).now,
  });
  mkdirSync(dirname(settings.launcherSocket), { recursive: true, mode: 0o755 });
  const server = await serve(launcher, settings.launcherSocket, SERVICE_USER, log);
  log.info({ instance: instance.id, socket: settings.launcherSocket }, "launcher listens");

  let stopping = false;
  const stop = async (remove: boolean, why: string, exitCode: number): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info({ why, remove }, "launcher stops");
    server.close();
    await launcher.stop(remove, REMOVE_ALL_WITHIN_MS);
    process.exit(exitCode);
  };
  process.on("SIGTERM", () => void stop(true, "SIGTERM", 0));
  process.on("SIGINT", () => void stop(true, "SIGINT", 0));
  process.on("SIGUSR2", () => void stop(false, "SIGUSR2", 0));
  process.on("disconnect", () => void stop(true, "the starter ended", 0));
  process.on("SIGHUP", () => {
    launcher.reload().catch((error: unknown) => log.error({ err: error }, "image not resolved"));
  });
  try {
    await launcher.start();
  } catch (error) {
    report(error, log);
    await stop(true, "this host cannot make sandboxes", 1);
  }
}

function report(error: unknown, log: Logger | null): void {
  const expected =
    error instanceof SettingsError ||
    error instanceof InstanceError ||
    error instanceof WheelMirrorError ||
    error instanceof IsolationError ||
    error instanceof LauncherFailure;
  const text = expected
    ? error.message
    : error instanceof Error
      ? (error.stack ?? error.message)
      : String(error);
  if (log === null) process.stderr.write(`${text}\n`);
  else log.fatal({ reason: text }, "launcher cannot work");
}

main().catch((error: unknown) => {
  report(error, null);
  process.exit(1);
});
