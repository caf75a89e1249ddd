/**
 * What every sandbox container must satisfy, as data: the launcher asserts it on each create body before it is sent,
 * and the policy pack holds a stack's containers to the same list. Numbers name the CIS Docker Benchmark 1.6 section 5
 * recommendation that a rule follows; `null` is a rule of our own.
 */

import { CHECKPOINT_RUNTIME_NAME, RUNTIME_NAME } from "../../host/isolation.ts";

/** The facts of a container that the rules speak about, independent of the API that describes it. */
export interface ContainerFacts {
  readonly runtime: string;
  readonly image: string;
  readonly user: string;
  readonly privileged: boolean;
  readonly readOnlyRoot: boolean;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly securityOptions: readonly string[];
  readonly networkMode: string;
  readonly networkDisabled: boolean;
  readonly publishedPorts: number;
  readonly ipcMode: string;
  readonly pidMode: string;
  readonly utsMode: string;
  readonly usernsMode: string;
  readonly devices: number;
  /** Host paths that are mounted, as the engine's `Binds` has them: `SOURCE:TARGET` or `SOURCE:TARGET:ro`. */
  readonly hostPaths: readonly string[];
  /** Option strings of tmpfs mounts by their target. */
  readonly tmpfs: Readonly<Record<string, string>>;
  readonly memoryBytes: number;
  readonly memorySwapBytes: number;
  readonly nanoCpus: number;
  readonly pidsLimit: number;
  readonly ulimits: readonly string[];
  readonly logDriver: string;
  readonly restartPolicy: string;
  readonly autoRemove: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ContainerRule {
  readonly id: string;
  readonly cis: string | null;
  /** One sentence, as an operator would state it. */
  readonly requirement: string;
  readonly holds: (facts: ContainerFacts) => boolean;
}

/** Where sandboxes see the operator's mirror of wheels; the image's own files know the place. */
export const WHEELS_MOUNT = "/opt/kernelyard/wheels";

const ROOT_USER = /^(|0|root)(:.*)?$/;
const DIGEST = /(^|@)sha256:[0-9a-f]{64}$/;

function rule(
  id: string,
  cis: string | null,
  requirement: string,
  holds: (facts: ContainerFacts) => boolean,
): ContainerRule {
  return { id, cis, requirement, holds };
}

export const CONTAINER_RULES: readonly ContainerRule[] = [
  rule("isolated-runtime", "5.31", "Runs under runsc.", (c) => {
    return c.runtime === RUNTIME_NAME || c.runtime === CHECKPOINT_RUNTIME_NAME;
  }),
  rule("image-by-digest", null, "The image is named by digest.", (c) => DIGEST.test(c.image)),
  rule("non-root", "4.1", "The user is not root.", (c) => !ROOT_USER.test(c.user)),
  rule("not-privileged", "5.5", "Is not privileged.", (c) => !c.privileged),
  rule("no-capabilities", "5.4", "Drops all capabilities and adds none.", (c) => {
    return c.capDrop.includes("ALL") && c.capAdd.length === 0;
  }),
  rule("no-new-privileges", "5.26", "Cannot gain privileges.", (c) =>
    c.securityOptions.some((o) => /^no-new-privileges(:true|=true)?$/.test(o)),
  ),
  rule("seccomp", "5.22", "Has a seccomp profile given in full.", (c) => {
    const profiles = c.securityOptions.filter((o) => o.startsWith("seccomp="));
    return profiles.length === 1 && profiles.every((o) => o.startsWith("seccomp={"));
  }),
  rule("confined", "5.2", "No security module is switched off.", (c) =>
    c.securityOptions.every((o) => !/unconfined|disable/.test(o.slice(0, 64))),
  ),
  rule("read-only-root", "5.13", "The root file system is read-only.", (c) => c.readOnlyRoot),
  rule("no-network", null, "Has no network.", (c) => c.networkMode === "none" && c.networkDisabled),
  rule("no-ports", "5.8", "Publishes no port.", (c) => c.publishedPorts === 0),
  rule("own-ipc", "5.17", "Has its own IPC namespace.", (c) => c.ipcMode === "private"),
  rule("own-pid", "5.16", "Has its own process namespace.", (c) => c.pidMode === ""),
  rule("own-uts", "5.21", "Has its own host name.", (c) => c.utsMode === ""),
  rule("user-namespace", "5.31", "Does not opt out of user namespaces.", (c) => c.usernsMode === ""),
  rule("no-devices", "5.18", "Sees no device of the host.", (c) => c.devices === 0),
  rule("no-host-paths", "5.6", "Mounts no path of the host but a mirror of wheels, read-only.", (c) => {
    return c.hostPaths.length <= 1 && c.hostPaths.every((path) => path.endsWith(`:${WHEELS_MOUNT}:ro`));
  }),
  rule("bounded-tmpfs", null, "Every tmpfs has a size, nosuid and nodev.", (c) =>
    Object.values(c.tmpfs).every((options) => {
      const parts = options.split(",");
      return (
        parts.some((p) => /^size=[1-9]\d*$/.test(p)) && parts.includes("nosuid") && parts.includes("nodev")
      );
    }),
  ),
  rule("memory", "5.11", "Memory is limited, without swap.", (c) => {
    return c.memoryBytes > 0 && c.memorySwapBytes === c.memoryBytes;
  }),
  rule("cpu", "5.12", "CPU is limited.", (c) => c.nanoCpus > 0),
  rule("pids", "5.29", "Processes are limited.", (c) => c.pidsLimit >= 1 && c.pidsLimit <= 32768),
  rule("ulimits", "5.19", "Open files are limited, core files are off.", (c) => {
    return c.ulimits.includes("core=0:0") && c.ulimits.some((u) => /^nofile=\d+:\d+$/.test(u));
  }),
  rule("no-log", null, "Output is not written to the host's disk.", (c) => c.logDriver === "none"),
  rule("ends", "5.15", "Is removed at its end and never started again.", (c) => {
    return c.autoRemove && (c.restartPolicy === "" || c.restartPolicy === "no");
  }),
  rule("owned", null, "Says who owns it.", (c) => (c.labels["kernelyard.instance"] ?? "") !== ""),
];

/** The rules that `facts` breaks; rules named in `except` are left out. */
export function brokenRules(facts: ContainerFacts, except: readonly string[] = []): ContainerRule[] {
  return CONTAINER_RULES.filter((r) => !except.includes(r.id) && !r.holds(facts));
}
