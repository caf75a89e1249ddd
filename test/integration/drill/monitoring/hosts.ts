/** The service as Prometheus sees it in the drill: four hosts, each with what is to fail there. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SERVICE_USER } from "../../../../gateway/host/isolation.ts";
import { removeInstance } from "../../../support/abandoned.ts";
import { startFleetHost } from "../../../support/fleet/hosts-here.ts";
import { freePort } from "../../../support/free-port.ts";
import { RedisServer } from "../../../support/redis/redis-server.ts";
import { Stack } from "../../../support/stack.ts";
import { type S3Server, startS3, TEST_CREDENTIALS } from "../../files/s3-server.ts";
import { SlowEngine } from "../slow-engine.ts";

/** Two tenants: neither may have all places. */
export const OTHER_KEY = "key-of-another-tenant";
/** One of them is the service's own. */
export const PLACES = 6;
/** What a sandbox of the default size takes of the budget. */
const PLACE_MIB = 582;

export interface Host {
  readonly name: string;
  readonly stack: Stack;
  readonly metricsPort: number;
  /** As Prometheus names it. */
  readonly instance: string;
  /** What an operator's shell has on this host beside the defaults. */
  readonly shell: Readonly<Record<string, string>>;
}

export class DrillHosts {
  readonly #folder: string;
  readonly #ends: (() => Promise<void> | void)[] = [];
  /** Of `troubled` alone. */
  readonly engine: SlowEngine;
  directory!: RedisServer;
  /** Under load; its audit log has a small disk of its own. */
  busy!: Host;
  /** Its engine, loop devices and disk are the drill's. */
  troubled!: Host;
  /** Of a fleet; neither isolated nor with loop devices, its audit log's bucket is not there, and its clock is the drill's. */
  west!: Host;
  /** Of the same fleet, with nothing wrong. */
  east!: Host;
  /** Its directory is, or will be, away: nobody calls sessions of it any more. */
  fleetIsAlone = false;
  #bucket: Promise<string> | null = null;

  constructor() {
    this.#folder = mkdtempSync("/tmp/ky-drill-");
    // The gateway's user reads the clock.
    chmodSync(this.#folder, 0o755);
    this.engine = new SlowEngine(join(this.#folder, "engine.sock"));
    this.#ends.push(
      () => this.engine.close(),
      () => rmSync(this.#folder, { recursive: true, force: true }),
    );
  }

  get all(): readonly Host[] {
    return [this.busy, this.troubled, this.west, this.east];
  }

  async start(): Promise<void> {
    const { PATH = "" } = process.env;
    this.setClock(0);
    for (const place of ["some", "none"]) this.#losetup(place);
    await this.engine.open();
    const s3 = await startS3();
    this.#ends.unshift(() => s3.stop());
    this.directory = await RedisServer.start();
    this.#ends.unshift(() => this.directory.dispose());
    [this.busy, this.troubled] = await Promise.all([this.#startBusy(), this.#startTroubled(PATH)]);
    [this.east, this.west] = await Promise.all([
      this.#startFleetHost("east", s3, {}),
      this.#startFleetHost("west", s3, {
        KERNELYARD_ISOLATION: "runc-unsafe",
        KERNELYARD_AUDIT_S3_BUCKET: "that-nobody-made",
        PATH: `${join(this.#folder, "none")}:${PATH}`,
        NODE_OPTIONS: `--import=${join(import.meta.dirname, "../shifted-clock.ts")}`,
        DRILL_CLOCK: join(this.#folder, "clock"),
      }),
    ]);
  }

  async stop(): Promise<void> {
    for (const end of this.#ends) await end();
  }

  /** Of `west`, milliseconds ahead. */
  setClock(ahead: number): void {
    writeFileSync(join(this.#folder, "clock"), String(ahead));
  }

  /** Whether `troubled` gets loop devices. */
  setLoopDevices(there: boolean): void {
    const none = join(this.#folder, "some", "no-loop");
    if (there) rmSync(none, { force: true });
    else writeFileSync(none, "");
  }

  /** In front of the real one, with the words of a host that has no device left, or may have none. */
  #losetup(place: string): void {
    const folder = join(this.#folder, place);
    const real = execFileSync("sh", ["-c", "command -v losetup"], { encoding: "utf8" }).trim();
    const fails =
      place === "none"
        ? "echo 'losetup: cannot find an unused loop device: Permission denied' >&2; exit 1"
        : `if [ -e ${folder}/no-loop ]; then echo 'losetup: cannot find an unused loop device: No such device' >&2; exit 1; fi`;
    execFileSync("mkdir", [folder]);
    writeFileSync(join(folder, "losetup"), `#!/bin/sh\n${fails}\nexec ${real} "$@"\n`, { mode: 0o755 });
  }

  async #startBusy(): Promise<Host> {
    const port = await freePort();
    const stack = new Stack({
      env: {
        KERNELYARD_CHECKPOINTS: "auto",
        KERNELYARD_METRICS_PORT: String(port),
        KERNELYARD_RATE_LIMITS: "off",
        KERNELYARD_FILES_TOTAL: "8m",
        KERNELYARD_MEMORY_BUDGET: `${PLACES * PLACE_MIB}m`,
        KERNELYARD_POOL_SIZE: "1",
        KERNELYARD_SLEEP_AFTER_MS: "3000",
        KERNELYARD_API_KEYS: `integration-test-key,other=${OTHER_KEY}`,
      },
    });
    await this.#onDiskOfItsOwn(stack, "gateway/audit", "4m");
    await stack.startLauncher();
    await stack.startGateway();
    await stack.checkpointsReady();
    return hostOf("busy", stack, port, {});
  }

  async #startTroubled(path: string): Promise<Host> {
    const port = await freePort();
    const env = {
      KERNELYARD_DOCKER_SOCKET: this.engine.path,
      KERNELYARD_SESSION_DISK: "16m",
      KERNELYARD_DISK_RESERVE: "64m",
      PATH: `${join(this.#folder, "some")}:${path}`,
    };
    const stack = new Stack({
      env: {
        ...env,
        KERNELYARD_METRICS_PORT: String(port),
        KERNELYARD_RATE_LIMITS: "off",
        KERNELYARD_MEMORY_BUDGET: `${PLACES * PLACE_MIB}m`,
        KERNELYARD_POOL_SIZE: "0",
      },
    });
    await this.#onDiskOfItsOwn(stack, "", "1g");
    await stack.startLauncher();
    await stack.startGateway();
    return hostOf("troubled", stack, port, { ...env, DOCKER_HOST: `unix://${this.engine.path}` });
  }

  async #startFleetHost(name: string, s3: S3Server, env: Readonly<Record<string, string>>): Promise<Host> {
    const port = await freePort();
    this.#bucket ??= s3.makeBucket();
    const bucket = { name: await this.#bucket, endpoint: s3.endpoint, credentials: TEST_CREDENTIALS };
    const stack = await startFleetHost(this.directory, bucket, {
      KERNELYARD_METRICS_PORT: String(port),
      KERNELYARD_RATE_LIMITS: "off",
      KERNELYARD_POOL_SIZE: "0",
      ...env,
    });
    this.#ends.unshift(() => stack.stop());
    return hostOf(name, stack, port, { ...env, KERNELYARD_S3_ENDPOINT: s3.endpoint });
  }

  /** What others do to the machine's disk is nothing to it, nor the other way round. `part`: of the data directory; empty: all of it. */
  async #onDiskOfItsOwn(stack: Stack, part: string, size: string): Promise<void> {
    const at = join(stack.dataDir, part);
    const before = join(this.#folder, `before-${size}`);
    if (part !== "") execFileSync("install", ["-d", "-m", "0700", "-o", SERVICE_USER, at]);
    execFileSync("cp", ["-a", at, before]);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", at]);
    execFileSync("cp", ["-a", `${before}/.`, at]);
    this.#ends.unshift(async () => {
      await stack.gateway.signal("SIGTERM");
      await stack.launcher.signal("SIGTERM");
      await removeInstance(stack.docker, stack.instance);
      execFileSync("umount", [at]);
      rmSync(stack.dataDir, { recursive: true, force: true });
    });
  }
}

function hostOf(name: string, stack: Stack, metricsPort: number, env: Host["shell"]): Host {
  const shell = { ...env, KERNELYARD_DATA_DIR: stack.dataDir };
  return { name, stack, metricsPort, instance: `127.0.0.1:${metricsPort}`, shell };
}
