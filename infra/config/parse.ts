/** A stack's configuration from its name and its raw values. Pure; every message names the key and the remedy. */
import type { z } from "zod";
import { checkAuditBucket } from "./audit.ts";
import { checkConsole } from "./console.ts";
import { parseAws } from "./parse-aws.ts";
import { KeyReader, StackConfigError } from "./problems.ts";
import { KEYS, type KeySpec, type Target } from "./schema.ts";
import type {
  CommonConfig,
  FleetConfig,
  HostsConfig,
  LocalConfig,
  RegistryConfig,
  StackConfig,
} from "./stack-config.ts";
import { stackNameProblem } from "./stack-name.ts";

/** `get` gives a key's raw text (lists and maps as JSON), or undefined. Secret keys are not read here. */
export function parseStackConfig(stack: string, get: (key: string) => string | undefined): StackConfig {
  const keys = new KeyReader(get);
  const target = keys.required(KEYS.target, "local");
  keys.refuse();
  const name = stackNameProblem(stack, target);
  if (name !== null) keys.general(name);
  refuseForeignKeys(target, keys);
  keys.refuseRemoved(
    "unroutedSessions",
    "pulumi config rm unroutedSessions; several hosts share their sessions now, whichever of them is called",
  );
  const config = parseTarget(target, commonConfig(keys), keys);
  keys.refuse();
  if (config === null) throw new StackConfigError([]);
  return config;
}

function commonConfig(keys: KeyReader): CommonConfig {
  return {
    port: keys.value(KEYS.port, 3112),
    isolation: keys.value(KEYS.isolation, "runsc"),
    auth: keys.value(KEYS.auth, []),
    keyRotation: keys.value(KEYS.keyRotation, "1"),
    settings: keys.value(KEYS.settings, {}),
    sandboxContext: keys.value(KEYS.sandboxContext, ""),
    profile: keys.value(KEYS.profile, "default"),
    sandboxBaseImage: keys.value(KEYS.sandboxBaseImage, ""),
    serviceBaseImage: keys.value(KEYS.serviceBaseImage, ""),
    protectData: keys.value(KEYS.protectData, true),
  };
}

/** Null only after a problem. */
function parseTarget(target: Target, common: CommonConfig, keys: KeyReader): StackConfig | null {
  switch (target) {
    case "local":
      return parseLocal(common, keys);
    case "hosts":
      return parseHosts(common, keys);
    case "aws":
      return parseAws(common, keys);
  }
}

function registryConfig(common: CommonConfig, keys: KeyReader): RegistryConfig {
  const config = { port: keys.value(KEYS.registryPort, 5000), image: keys.read(KEYS.registryImage) };
  if (config.port === common.port)
    keys.problem(KEYS.registryPort, `is the gateway's port (kernelyard:port), ${config.port}`);
  return config;
}

function bindAddress(common: CommonConfig, keys: KeyReader, otherwise: string): string {
  const address = keys.value(KEYS.bindAddress, otherwise);
  if (common.auth.includes("none") && address !== "127.0.0.1" && address !== "::1") {
    keys.problem(
      KEYS.auth,
      `is none while kernelyard:bindAddress is ${address}: anybody who reaches it could run code`,
    );
  }
  return address;
}

function parseLocal(common: CommonConfig, keys: KeyReader): LocalConfig {
  const registry = registryConfig(common, keys);
  checkConsole(common, keys, { port: common.port, registryPort: registry.port });
  checkAuditBucket(common, keys, false, "use target hosts or aws");
  return {
    target: "local",
    common,
    bindAddress: bindAddress(common, keys, "127.0.0.1"),
    dockerHost: keys.value(KEYS.dockerHost, ""),
    registry,
  };
}

function parseHosts(common: CommonConfig, keys: KeyReader): HostsConfig | null {
  const hosts = keys.value(KEYS.hosts, []);
  const [first, ...rest] = hosts;
  if (new Set(hosts.map((host) => host.name)).size !== hosts.length) {
    keys.problem(KEYS.hosts, "has two machines of the same name");
  }
  if (new Set(hosts.map((host) => `${host.address}:${host.port}`)).size !== hosts.length) {
    keys.problem(KEYS.hosts, "has the same address twice");
  }
  const sshKeyFile = keys.read(KEYS.sshKeyFile);
  const registry = registryConfig(common, keys);
  const address = bindAddress(common, keys, "0.0.0.0");
  const fileStore = keys.read(KEYS.fileStore);
  const fleet = rest.length === 0 ? null : fleetConfig(common, registry, address, keys);
  checkConsole(common, keys, {
    port: common.port,
    registryPort: registry.port,
    fleetPort: fleet?.port,
    valkeyPort: fleet?.valkeyPort,
    entryPort: fleet?.entry?.port,
  });
  checkAuditBucket(common, keys, fileStore !== null, KEYS.fileStore.remedy);
  if (rest.length === 0 && keys.given(KEYS.entryPort) !== undefined) {
    keys.problem(KEYS.entryPort, "is for several machines");
  }
  if (fleet !== null && fileStore === null && keys.clean) {
    keys.problem(
      KEYS.fileStore,
      `names no bucket for ${hosts.length} machines: files must be where each of them reaches them`,
    );
  }
  if (first === undefined) {
    if (keys.clean) keys.problem(KEYS.hosts, "names no machine");
    return null;
  }
  return {
    target: "hosts",
    common,
    bindAddress: address,
    hosts: [first, ...rest],
    sshKeyFile,
    registry,
    fileStore,
    fleet,
  };
}

/** Several machines; each of their ports is another one. */
function fleetConfig(
  common: CommonConfig,
  registry: RegistryConfig,
  gatewayAddress: string,
  keys: KeyReader,
): FleetConfig {
  const port = keys.value(KEYS.fleetPort, 3114);
  const valkeyPort = keys.value(KEYS.valkeyPort, 6379);
  const entryPort = keys.read(KEYS.entryPort);
  const taken = new Map([
    [common.port, "the gateway's port (kernelyard:port)"],
    [registry.port, "the registry's port (kernelyard:registryPort)"],
  ]);
  for (const [spec, value, whose] of [
    [KEYS.fleetPort, port, "the port between machines (kernelyard:fleetPort)"],
    [KEYS.valkeyPort, valkeyPort, "the directory's port (kernelyard:valkeyPort)"],
    [KEYS.entryPort, entryPort, "the entry's port (kernelyard:entryPort)"],
  ] as const) {
    if (value === null) continue;
    const other = taken.get(value);
    if (other !== undefined) keys.problem(spec, `is ${other}, ${value}`);
    taken.set(value, whose);
  }
  if (entryPort !== null && /^(127\.|::1$)/.test(gatewayAddress)) {
    keys.problem(
      KEYS.bindAddress,
      `is ${gatewayAddress}, where the entry (kernelyard:entryPort) reaches no gateway of another machine`,
      "pulumi config rm bindAddress, or remove entryPort",
    );
  }
  const entry = entryPort === null ? null : { port: entryPort, image: keys.read(KEYS.entryImage) };
  return { port, valkeyPort, valkeyImage: keys.read(KEYS.valkeyImage), entry };
}

/** A key that another target owns would silently do nothing: say so. */
function refuseForeignKeys(target: Target, keys: KeyReader): void {
  for (const spec of Object.values<KeySpec<z.ZodType>>(KEYS)) {
    if (spec.secret) continue;
    const given = keys.given(spec);
    if (given === undefined || given === spec.fallback || spec.targets.includes(target)) continue;
    keys.problem(spec, `belongs to target ${spec.targets.join(" or ")}, not ${target}; remove it`);
  }
}
