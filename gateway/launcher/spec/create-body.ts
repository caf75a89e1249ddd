/** The whole create body of a sandbox: a pure function of profile, ceilings and session. Nothing else makes one. */
import type { ContainerCreateOptions, MountSettings } from "dockerode";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import { CHECKPOINT_RUNTIME_NAME, RUNTIME_NAME } from "../../host/isolation.ts";
import { encodeSession, LABEL } from "../engine/labels.ts";
import { brokenRules, type ContainerFacts, WHEELS_MOUNT } from "./container-rules.ts";

const MIB = 1024 * 1024;

/** The user inside every sandbox; the image and the session volumes are made for it. */
export const SANDBOX_UID = 10001;
/**
 * The data directory has two names: the specification's sessions are mounted at theirs, LibreChat's at the one that it
 * tells its models. The supervisor makes the other one a link, in a directory that has room for nothing else.
 */
const NAMED_SESSION_MOUNT = "/mnt/session_data";
export const DATA_MOUNT = "/mnt/data";
const MOUNTS_PARENT = "/mnt";
const MOUNTS_PARENT_BYTES = 64 * 1024;
const TMP_BYTES = 64 * MIB;
const OPEN_FILES = 4096;
/** Services have 1024 each: a host whose CPUs are all taken by sandboxes still answers probes and engine calls in time. */
const CPU_WEIGHT = 128;
/** Sandboxes are the host's first victims when its memory runs out, never its services. */
const OOM_SCORE_ADJ = 500;

/** How sandboxes are started where checkpoints are on: under the runtime that restores and saves them. */
export interface CheckpointSupport {
  /** Of what a checkpoint of this sandbox is made of; null where none will be made. */
  readonly key: string | null;
}

/** What one sandbox may take; from the settings, never from a request. */
export interface Ceilings {
  readonly isolation: "runsc" | "runc-unsafe";
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly pids: number;
  readonly freshDiskBytes: number;
  /** Folder of the host with the mirror of wheels; null: there is none. */
  readonly wheels: string | null;
}

export type SandboxData =
  | { readonly kind: "fresh" }
  | {
      readonly kind: "session";
      readonly session: SessionKey;
      /** A digest; null: not said. */
      readonly owner: string | null;
      readonly volume: string;
      /** A plain volume takes its owner from the image's directory; an ext4 image has it already. */
      readonly copyOwner: boolean;
    };

export interface SandboxSpecInput {
  readonly id: string;
  readonly instance: string;
  readonly createdAt: number;
  readonly profile: string;
  /** `sha256:…` */
  readonly imageId: string;
  /** The profile's JSON, already verified. */
  readonly seccomp: string;
  readonly ceilings: Ceilings;
  readonly data: SandboxData;
  /** Null where checkpoints are off. */
  readonly checkpoints: CheckpointSupport | null;
}

/** Throws `SpecError` when the body would break a container rule. */
export function sandboxSpec(input: SandboxSpecInput): ContainerCreateOptions {
  const { ceilings, checkpoints, data } = input;
  const own = `uid=${SANDBOX_UID},gid=${SANDBOX_UID}`;
  const mount = dataMount(data);
  const tmpfs: Record<string, string> = {
    "/tmp": tmpfsOptions(TMP_BYTES, "1777"),
    [MOUNTS_PARENT]: `${tmpfsOptions(MOUNTS_PARENT_BYTES, "0755")},${own}`,
  };
  if (data.kind === "fresh") tmpfs[mount] = `${tmpfsOptions(ceilings.freshDiskBytes, "0770")},${own}`;
  const labels: Record<string, string> = {
    [LABEL.instance]: input.instance,
    [LABEL.kind]: data.kind,
    [LABEL.sandbox]: input.id,
    [LABEL.profile]: input.profile,
    [LABEL.created]: new Date(input.createdAt).toISOString(),
  };
  if (data.kind === "session") labels[LABEL.session] = encodeSession(data.session);
  if (data.kind === "session" && data.owner !== null) labels[LABEL.owner] = data.owner;
  if (checkpoints !== null && checkpoints.key !== null) labels[LABEL.checkpoint] = checkpoints.key;

  const body: ContainerCreateOptions = {
    Image: input.imageId,
    User: `${SANDBOX_UID}:${SANDBOX_UID}`,
    WorkingDir: mount,
    Hostname: "sandbox",
    Env: [`KERNELYARD_SANDBOX_MEMORY=${ceilings.memoryBytes}`],
    Labels: labels,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    OpenStdin: true,
    StdinOnce: false,
    Tty: false,
    NetworkDisabled: true,
    Healthcheck: { Test: ["NONE"] },
    HostConfig: {
      Runtime: runtimeOf(ceilings.isolation, checkpoints),
      NetworkMode: "none",
      ReadonlyRootfs: true,
      Privileged: false,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges", `seccomp=${input.seccomp}`],
      IpcMode: "private",
      Init: false,
      AutoRemove: true,
      RestartPolicy: { Name: "no" },
      LogConfig: { Type: "none", Config: {} },
      Memory: ceilings.memoryBytes,
      MemorySwap: ceilings.memoryBytes,
      NanoCpus: Math.round(ceilings.cpus * 1e9),
      CpuShares: CPU_WEIGHT,
      PidsLimit: ceilings.pids,
      OomScoreAdj: OOM_SCORE_ADJ,
      // No nproc: the kernel counts it per user, and all sandboxes are one user.
      Ulimits: [
        { Name: "nofile", Soft: OPEN_FILES, Hard: OPEN_FILES },
        { Name: "core", Soft: 0, Hard: 0 },
      ],
      Devices: [],
      Tmpfs: tmpfs,
      Mounts: [
        ...(data.kind === "session"
          ? [
              {
                Type: "volume" as const,
                Source: data.volume,
                Target: mount,
                // The driver's own options are the volume's, made before.
                VolumeOptions: {
                  NoCopy: !data.copyOwner,
                  Labels: {},
                  DriverConfig: { Name: "local", Options: {} },
                },
              },
            ]
          : []),
        ...(ceilings.wheels === null ? [] : [mirrorMount(ceilings.wheels)]),
      ],
    },
  };
  const broken = brokenRules(factsOf(body), ceilings.isolation === "runsc" ? [] : ["isolated-runtime"]);
  if (broken.length > 0) {
    throw new SpecError(`sandbox breaks container rules: ${broken.map((r) => r.id).join(", ")}`);
  }
  return body;
}

/** One folder for all sandboxes, that none can write to. */
const mirrorMount = (folder: string): MountSettings => ({
  Type: "bind",
  Source: folder,
  Target: WHEELS_MOUNT,
  ReadOnly: true,
  BindOptions: { Propagation: "rprivate" },
});

function dataMount(data: SandboxData): string {
  return data.kind === "session" && data.session.kind === "named" ? NAMED_SESSION_MOUNT : DATA_MOUNT;
}

export class SpecError extends Error {
  override readonly name = "SpecError";
}

function runtimeOf(isolation: Ceilings["isolation"], checkpoints: CheckpointSupport | null): string {
  if (isolation !== "runsc") return "runc";
  return checkpoints === null ? RUNTIME_NAME : CHECKPOINT_RUNTIME_NAME;
}

function tmpfsOptions(bytes: number, mode: string): string {
  // The engine adds noexec unless told otherwise; compiled programs and some libraries run from there.
  return `rw,exec,nosuid,nodev,size=${bytes},mode=${mode}`;
}

/** Reads a Docker create body for the rules. */
export function factsOf(body: ContainerCreateOptions): ContainerFacts {
  const host = body.HostConfig ?? {};
  return {
    runtime: host.Runtime ?? "",
    image: body.Image ?? "",
    user: body.User ?? "",
    privileged: host.Privileged ?? false,
    readOnlyRoot: host.ReadonlyRootfs ?? false,
    capAdd: host.CapAdd ?? [],
    capDrop: host.CapDrop ?? [],
    securityOptions: host.SecurityOpt ?? [],
    networkMode: host.NetworkMode ?? "",
    networkDisabled: body.NetworkDisabled ?? false,
    publishedPorts: Object.keys(host.PortBindings ?? {}).length + (host.PublishAllPorts === true ? 1 : 0),
    ipcMode: host.IpcMode ?? "",
    pidMode: host.PidMode ?? "",
    utsMode: host.UTSMode ?? "",
    usernsMode: host.UsernsMode ?? "",
    devices: (host.Devices ?? []).length + (host.DeviceRequests ?? []).length,
    hostPaths: [
      ...(host.Binds ?? []),
      ...(host.Mounts ?? [])
        .filter((m) => m.Type === "bind")
        .map((m) => `${m.Source}:${m.Target}${m.ReadOnly === true ? ":ro" : ""}`),
      ...(host.VolumesFrom ?? []),
    ],
    tmpfs: tmpfsRecord(host.Tmpfs),
    memoryBytes: host.Memory ?? 0,
    memorySwapBytes: host.MemorySwap ?? 0,
    nanoCpus: host.NanoCpus ?? 0,
    pidsLimit: host.PidsLimit ?? 0,
    ulimits: (host.Ulimits ?? []).map((u) => `${u.Name}=${u.Soft}:${u.Hard}`),
    logDriver: host.LogConfig?.Type ?? "",
    restartPolicy: host.RestartPolicy?.Name ?? "",
    autoRemove: host.AutoRemove ?? false,
    labels: body.Labels ?? {},
  };
}

function tmpfsRecord(value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([path, options]) => [path, String(options)]));
}
