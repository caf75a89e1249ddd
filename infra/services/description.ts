/**
 * The two service containers as data: `Services` gives it to the Docker provider, `runFlags` to `docker run` in a unit.
 * Each starts from nothing and names what it needs.
 */
import { dirname } from "node:path";
import { gatewayMemory, heapFlags, LAUNCHER_HEAP_FLAGS } from "../../gateway/common/gateway-memory.ts";
import { SETTINGS } from "../../gateway/common/settings/schema.ts";
import { stopWithinMs } from "../../gateway/common/stopping.ts";
import { CHECKPOINT_NOTES } from "../../gateway/host/isolation.ts";
import { OPEN_FILES, TMPFS } from "../parts/least-privilege.ts";
import { ENGINE_MOUNT, launcherSocket, type Paths } from "./environment.ts";

export interface Bind {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

export interface ServiceDescription {
  readonly command: readonly string[];
  /** Null: the image's own user, who is not root. */
  readonly user: string | null;
  readonly capabilities: readonly string[];
  readonly network: "none" | "own";
  readonly memoryMib: number;
  readonly deviceRules: readonly string[];
  readonly binds: readonly Bind[];
  /** Time between SIGTERM and SIGKILL: running calls finish in it. */
  readonly stopSeconds: number;
  /** Asks the service to end; null: SIGTERM. */
  readonly stopSignal: "SIGUSR2" | null;
  readonly health: "launcher" | "gateway";
}

export const HEALTH_COMMAND = ["node", "gateway/image/healthy.ts"] as const;

/** The same path inside and on the host: the engine mounts what the launcher names. */
const bind = (path: string): Bind => ({ source: path, target: path, readOnly: false });

export function launcherDescription(paths: Paths): ServiceDescription {
  return {
    command: [...LAUNCHER_HEAP_FLAGS, "gateway/image/launcher-entry.ts"],
    // Root, because the engine's socket is root's; without network, and with these capabilities alone: the owners of
    // the data directory's parts, files of other users.
    user: "0:0",
    capabilities: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"],
    network: "none",
    memoryMib: 512,
    // Loop devices (block 7) and their control file alone, out of the host's /dev: session volumes of a hard size.
    deviceRules: ["b 7:* rw", "c 10:237 rw"],
    binds: [
      bind(paths.data),
      // The folder, not the socket itself: an engine that is started again makes a new one.
      { source: dirname(paths.dockerSocket), target: ENGINE_MOUNT, readOnly: true },
      bind("/dev"),
      // The CPU share of a sandbox is lifted while it starts.
      bind("/sys/fs/cgroup"),
      // Notes for the checkpoint runtime, which the engine starts on the host.
      bind(dirname(CHECKPOINT_NOTES)),
    ],
    stopSeconds: 30,
    // Leaves the kernels running for the launcher that takes over; when the whole stack goes, the sweep ends them.
    stopSignal: "SIGUSR2",
    health: "launcher",
  };
}

const DEFAULT_MEMORY = SETTINGS.KERNELYARD_GATEWAY_MEMORY.schema.parse(
  SETTINGS.KERNELYARD_GATEWAY_MEMORY.fallback,
);

/** `memoryBytes`: `KERNELYARD_GATEWAY_MEMORY`; heap and container go by it as the gateway itself does. */
export function gatewayDescription(
  paths: Paths,
  longestCallMs: number,
  memoryBytes: number = DEFAULT_MEMORY,
): ServiceDescription {
  const memory = gatewayMemory(memoryBytes);
  return {
    command: [...heapFlags(memory), "gateway/server/main.ts"],
    user: null,
    capabilities: [],
    network: "own",
    memoryMib: memory.totalMib,
    deviceRules: [],
    binds: [bind(`${paths.data}/gateway`), bind(dirname(launcherSocket(paths)))],
    stopSeconds: Math.ceil(stopWithinMs(longestCallMs) / 1000),
    stopSignal: null,
    health: "gateway",
  };
}

/** For `docker run`, without name, environment, ports and image. */
export function runFlags(service: ServiceDescription): string[] {
  return [
    "--init",
    "--read-only",
    "--cap-drop=ALL",
    ...service.capabilities.map((capability) => `--cap-add=${capability}`),
    "--security-opt=no-new-privileges:true",
    ...Object.entries(TMPFS).map(([path, options]) => `--tmpfs=${path}:${options}`),
    "--ulimit=core=0:0",
    `--ulimit=nofile=${OPEN_FILES}:${OPEN_FILES}`,
    `--memory=${service.memoryMib}m`,
    `--memory-swap=${service.memoryMib}m`,
    "--pids-limit=512",
    ...(service.user === null ? [] : [`--user=${service.user}`]),
    ...(service.network === "none" ? ["--network=none"] : []),
    ...service.deviceRules.map((rule) => `--device-cgroup-rule=${rule}`),
    ...service.binds.map((b) => `--volume=${b.source}:${b.target}${b.readOnly ? ":ro" : ""}`),
    ...(service.stopSignal === null ? [] : [`--stop-signal=${service.stopSignal}`]),
    `--stop-timeout=${service.stopSeconds}`,
  ];
}
