/** Rules for every container that a stack makes itself: registry, launcher, gateway, and whatever an operator adds. */
import { labelOf, listOf, objectOf, rule, textOf, textsOf } from "./rule";

const CONTAINER = ["docker:index/container:Container"];
const DIGEST = /(^|@)sha256:[0-9a-f]{64}$/;
/** What the launcher needs; nobody else needs any. */
const LAUNCHER_CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"];
/** The engine's socket, or the folder that it is in. */
const SOCKET = /docker\.sock$|^\/(var\/)?run\/?$|^\/$/;

const bare = (capability: string) => capability.replace(/^CAP_/, "");

export const containerNotPrivileged = rule({
  name: "container-not-privileged",
  severity: "critical",
  description: "No container is privileged.",
  reason: "A privileged container is root on its host.",
  types: CONTAINER,
  violations: (c) => (c.privileged === true ? ["The container is privileged."] : []),
});

export const containerImageByDigest = rule({
  name: "container-image-by-digest",
  severity: "high",
  description: "Images are named by digest.",
  reason: "A tag can be moved to something that nobody has looked at.",
  types: CONTAINER,
  violations: (c) =>
    DIGEST.test(textOf(c.image)) ? [] : [`The image is ${textOf(c.image) || "not named"}.`],
});

export const containerReadOnlyRoot = rule({
  name: "container-read-only-root",
  severity: "medium",
  description: "The root file system is read-only.",
  reason: "An intruder could change the program that runs next.",
  types: CONTAINER,
  violations: (c) => (c.readOnly === true ? [] : ["The root file system can be written."]),
});

export const containerCapabilities = rule({
  name: "container-capabilities",
  severity: "high",
  description: "All capabilities are dropped; the launcher alone gets three back.",
  reason: "Each capability is a part of root.",
  types: CONTAINER,
  violations: (c) => {
    const capabilities = objectOf(c.capabilities);
    const allowed = labelOf(c, "kernelyard.part") === "launcher" ? LAUNCHER_CAPABILITIES.map(bare) : [];
    const tooMany = textsOf(capabilities.adds).filter((added) => !allowed.includes(bare(added)));
    return [
      ...(textsOf(capabilities.drops).includes("ALL") ? [] : ["Not all capabilities are dropped."]),
      ...tooMany.map((added) => `The capability ${added} is added.`),
    ];
  },
});

export const containerNoNewPrivileges = rule({
  name: "container-no-new-privileges",
  severity: "high",
  description: "Processes cannot gain privileges.",
  reason: "A setuid program would give back what was dropped.",
  types: CONTAINER,
  violations: (c) =>
    textsOf(c.securityOpts).some((option) => /^no-new-privileges(:true|=true)?$/.test(option))
      ? []
      : ["no-new-privileges is not set."],
});

export const containerConfined = rule({
  name: "container-confined",
  severity: "high",
  description: "Neither seccomp nor a security module is switched off.",
  reason: "They keep most of the kernel out of reach.",
  types: CONTAINER,
  violations: (c) =>
    textsOf(c.securityOpts)
      .filter((option) => /unconfined|disable/.test(option.slice(0, 64)))
      .map((option) => `The option ${option} switches protection off.`),
});

export const containerMemoryLimit = rule({
  name: "container-memory-limit",
  severity: "medium",
  description: "Memory is limited, without swap.",
  reason: "One service could starve the host and every session on it.",
  types: CONTAINER,
  violations: (c) =>
    typeof c.memory === "number" && c.memory > 0 && c.memorySwap === c.memory
      ? []
      : ["Memory and memory with swap are not the same limit."],
});

export const containerNoCoreFiles = rule({
  name: "container-no-core-files",
  severity: "low",
  description: "Core files are off.",
  reason: "They hold keys and other people's data.",
  types: CONTAINER,
  violations: (c) =>
    listOf(c.ulimits)
      .map(objectOf)
      .some((limit) => limit.name === "core" && limit.hard === 0)
      ? []
      : ["Core files are not limited to nothing."],
});

export const containerLogBounded = rule({
  name: "container-log-bounded",
  severity: "medium",
  description: "Logs on the host's disk have an end.",
  reason: "A full disk stops every session.",
  types: CONTAINER,
  violations: (c) => {
    if (c.logDriver === "none") return [];
    const options = objectOf(c.logOpts);
    return textOf(options["max-size"]) !== "" && textOf(options["max-file"]) !== ""
      ? []
      : ["The log has no max-size and max-file."];
  },
});

export const containerOwnNamespaces = rule({
  name: "container-own-namespaces",
  severity: "high",
  description: "No container shares the host's network, processes, IPC or users.",
  reason: "Shared namespaces reach the host's other services.",
  types: CONTAINER,
  violations: (c) =>
    (["networkMode", "pidMode", "ipcMode", "usernsMode", "cgroupnsMode"] as const)
      .filter((mode) => c[mode] === "host")
      .map((mode) => `${mode} is host.`),
});

export const engineSocketOnlyLauncher = rule({
  name: "engine-socket-only-launcher",
  severity: "critical",
  description: "Only the launcher sees the engine's socket, and the launcher has no network.",
  reason: "Who may ask the engine for containers is root.",
  types: CONTAINER,
  violations: (c) => {
    const paths = [
      ...listOf(c.volumes).map((volume) => textOf(objectOf(volume).hostPath)),
      ...listOf(c.mounts).map((mount) => textOf(objectOf(mount).source)),
    ];
    if (!paths.some((path) => SOCKET.test(path))) return [];
    return [
      ...(labelOf(c, "kernelyard.part") === "launcher" ? [] : ["The engine's socket is mounted."]),
      ...(c.networkMode === "none" ? [] : ["The engine's socket is mounted beside a network."]),
    ];
  },
});

export const registryNotPublic = rule({
  name: "registry-not-public",
  severity: "critical",
  description: "The registry listens on the loopback address, or has TLS and a password.",
  reason: "Who can write to it decides what every host runs.",
  types: CONTAINER,
  violations: (c) => {
    if (labelOf(c, "kernelyard.part") !== "registry") return [];
    const settings = textsOf(c.envs).map((line) => line.split("=")[0]);
    const secured = ["REGISTRY_HTTP_TLS_CERTIFICATE", "REGISTRY_AUTH_HTPASSWD_PATH"].every((name) =>
      settings.includes(name),
    );
    const open = listOf(c.ports)
      .map((port) => textOf(objectOf(port).ip))
      .filter((ip) => ip !== "127.0.0.1" && ip !== "::1");
    return secured
      ? []
      : open.map((ip) => `The registry listens on ${ip || "every address"} without TLS and password.`);
  },
});

export const containerNoPlainKeys = rule({
  name: "container-no-plain-keys",
  severity: "critical",
  description: "No key of a caller's is in a container's environment; API keys are there as hashes.",
  reason: "Whoever may inspect the container could use it.",
  types: CONTAINER,
  violations: (c) =>
    textsOf(c.envs)
      .filter((line) => {
        if (/PRIVATE KEY|ky_[A-Za-z0-9_-]{20,}/.test(line)) return true;
        const keys = /^KERNELYARD_API_KEYS=(.*)$/.exec(line)?.[1];
        return keys?.split(",").some((entry) => !/(^|=)sha256:[0-9a-f]{64}$/.test(entry.trim())) === true;
      })
      .map((line) => `${line.split("=")[0]} holds a key.`),
});

export const directoryByTls = rule({
  name: "directory-by-tls",
  severity: "high",
  description: "Gateways reach the directory of sessions by TLS, with a password.",
  reason: "Whoever may write there decides which host runs a session.",
  types: CONTAINER,
  violations: (c) =>
    textsOf(c.envs)
      .filter((line) => line.startsWith("KERNELYARD_FLEET_URL="))
      .filter((line) => !/=rediss:\/\/[^:@/]*:[^@/]+@/.test(line))
      .map(() => "KERNELYARD_FLEET_URL is without TLS or password."),
});

export const CONTAINER_POLICIES = [
  containerNotPrivileged,
  containerImageByDigest,
  containerReadOnlyRoot,
  containerCapabilities,
  containerNoNewPrivileges,
  containerConfined,
  containerMemoryLimit,
  containerNoCoreFiles,
  containerLogBounded,
  containerOwnNamespaces,
  engineSocketOnlyLauncher,
  registryNotPublic,
  containerNoPlainKeys,
  directoryByTls,
];
