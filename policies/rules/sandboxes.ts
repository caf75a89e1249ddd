/**
 * Rules for a sandbox container that a stack makes itself (ours leaves that to the launcher): the launcher's own list,
 * `gateway/launcher/spec/container-rules.ts`. A pack runs apart from the project, so the list's rules are said again here
 * under the same names; a test breaks each of them in both places.
 */
import type { ResourceValidationPolicy } from "@pulumi/policy";
import { labelOf, listOf, objectOf, rule, textOf, textsOf } from "./rule";

type Properties = Record<string, unknown>;

/** A container of the sandbox image, or one that says it is a sandbox. */
const isSandbox = (c: Properties) =>
  /(^|\/)custom-rce-kernel(@|:|$)/.test(textOf(c.image)) || labelOf(c, "kernelyard.kind") !== "";

const shared = (
  name: string,
  description: string,
  holds: (c: Properties) => boolean,
): ResourceValidationPolicy =>
  rule({
    name: `sandbox-${name}`,
    severity: "critical",
    description,
    reason: "What runs in a sandbox is hostile.",
    types: ["docker:index/container:Container"],
    violations: (c) => (!isSandbox(c) || holds(c) ? [] : [`A sandbox breaks "${name}".`]),
  });

const options = (c: Properties) => textsOf(c.securityOpts);
const empty = (value: unknown) => textOf(value) === "";

export const SANDBOX_POLICIES: readonly ResourceValidationPolicy[] = [
  shared("isolated-runtime", "Runs under runsc.", (c) =>
    ["runsc", "runsc-checkpoint"].includes(textOf(c.runtime)),
  ),
  shared("image-by-digest", "The image is named by digest.", (c) =>
    /(^|@)sha256:[0-9a-f]{64}$/.test(textOf(c.image)),
  ),
  shared("non-root", "The user is not root.", (c) => !/^(|0|root)(:.*)?$/.test(textOf(c.user))),
  shared("not-privileged", "Is not privileged.", (c) => c.privileged !== true),
  shared("no-capabilities", "Drops all capabilities and adds none.", (c) => {
    const capabilities = objectOf(c.capabilities);
    return textsOf(capabilities.drops).includes("ALL") && listOf(capabilities.adds).length === 0;
  }),
  shared("no-new-privileges", "Cannot gain privileges.", (c) =>
    options(c).some((option) => /^no-new-privileges(:true|=true)?$/.test(option)),
  ),
  shared("seccomp", "Has a seccomp profile given in full.", (c) => {
    const profiles = options(c).filter((option) => option.startsWith("seccomp="));
    return profiles.length === 1 && profiles.every((option) => option.startsWith("seccomp={"));
  }),
  shared("confined", "No security module is switched off.", (c) =>
    options(c).every((option) => !/unconfined|disable/.test(option.slice(0, 64))),
  ),
  shared("read-only-root", "The root file system is read-only.", (c) => c.readOnly === true),
  shared("no-network", "Has no network.", (c) => c.networkMode === "none"),
  shared("no-ports", "Publishes no port.", (c) => listOf(c.ports).length === 0 && c.publishAllPorts !== true),
  shared("own-ipc", "Has its own IPC namespace.", (c) => c.ipcMode === "private"),
  shared("own-pid", "Has its own process namespace.", (c) => empty(c.pidMode)),
  shared("user-namespace", "Does not opt out of user namespaces.", (c) => empty(c.usernsMode)),
  shared("no-devices", "Sees no device of the host.", (c) =>
    [c.devices, c.deviceRequests, c.deviceCgroupRules].every((list) => listOf(list).length === 0),
  ),
  shared("no-host-paths", "Mounts no path of the host.", (c) =>
    listOf(c.volumes).every(
      (volume) => empty(objectOf(volume).hostPath) && empty(objectOf(volume).fromContainer),
    ),
  ),
  shared("bounded-tmpfs", "Every tmpfs has a size, nosuid and nodev.", (c) =>
    Object.values(objectOf(c.tmpfs)).every((value) => {
      const parts = textOf(value).split(",");
      return (
        parts.some((part) => /^size=[1-9]\d*$/.test(part)) &&
        parts.includes("nosuid") &&
        parts.includes("nodev")
      );
    }),
  ),
  shared(
    "memory",
    "Memory is limited, without swap.",
    (c) => typeof c.memory === "number" && c.memory > 0 && c.memorySwap === c.memory,
  ),
  shared("cpu", "CPU is limited.", (c) => Number.parseFloat(textOf(c.cpus)) > 0),
  shared("ulimits", "Open files are limited, core files are off.", (c) => {
    const limits = listOf(c.ulimits).map(objectOf);
    return (
      limits.some((limit) => limit.name === "core" && limit.soft === 0 && limit.hard === 0) &&
      limits.some((limit) => limit.name === "nofile")
    );
  }),
  shared("no-log", "Output is not written to the host's disk.", (c) => c.logDriver === "none"),
  shared(
    "ends",
    "Is removed at its end and never started again.",
    (c) => c.rm === true && (empty(c.restart) || c.restart === "no"),
  ),
  shared("owned", "Says who owns it.", (c) => labelOf(c, "kernelyard.instance") !== ""),
];
