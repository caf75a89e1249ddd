/** A stack's configuration from its raw values. Pure; every message names the key and the remedy. */
import type { z } from "zod";
import { KEYS, type KeyName, type KeySpec, type Target } from "./schema.ts";
import type { HostConfig } from "./values.ts";

/** Notes a problem of a key. */
type Report = (spec: KeySpec<z.ZodType>, text: string) => void;
type Value<K extends KeyName> = z.output<(typeof KEYS)[K]["schema"]>;

export interface CommonConfig {
  readonly port: number;
  readonly isolation: Value<"isolation">;
  readonly auth: Value<"auth">;
  readonly keyRotation: string;
  /** `KERNELYARD_*` beside what the deployment decides, as text. */
  readonly settings: Readonly<Record<string, string>>;
  readonly sandboxContext: string;
  readonly sandboxBaseImage: string;
  readonly serviceBaseImage: string;
  readonly protectData: boolean;
}

export interface RegistryConfig {
  readonly port: number;
  readonly image: string | null;
}

export interface LocalConfig {
  readonly target: "local";
  readonly common: CommonConfig;
  readonly bindAddress: string;
  readonly dockerHost: string;
  readonly registry: RegistryConfig;
}

export interface HostsConfig {
  readonly target: "hosts";
  readonly common: CommonConfig;
  /** At least one; the first carries the registry. */
  readonly hosts: readonly [HostConfig, ...HostConfig[]];
  readonly sshKeyFile: string | null;
  readonly registry: RegistryConfig;
}

export interface AwsConfig {
  readonly target: "aws";
  readonly common: CommonConfig;
  readonly region: string;
  readonly network:
    | {
        readonly kind: "new";
        readonly cidr: string;
        readonly zones: readonly string[];
        readonly endpoints: boolean;
      }
    | {
        readonly kind: "own";
        readonly vpcId: string;
        readonly subnetIds: readonly string[];
        readonly endpoints: boolean;
      };
  readonly clientCidrs: readonly string[];
  readonly certificateArn: string;
  readonly domainName: string;
  readonly instanceType: string;
  readonly imageParameter: string;
  readonly gvisorUrl: string;
  readonly hostCount: number;
  readonly fileBucket: boolean;
  readonly diskGb: number;
  readonly logRetentionDays: number;
  readonly alarmTopicArn: string | null;
  readonly accountId: string;
}

export type StackConfig = LocalConfig | HostsConfig | AwsConfig;

/** A mistake of the operator's: printed as it is, without a stack. */
export class StackConfigError extends Error {
  override readonly name = "StackConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The stack's configuration cannot be used:\n${problems.map((line) => `  - ${line}`).join("\n")}`);
    this.problems = problems;
  }
}

/** `get` gives a key's raw text (lists and maps as JSON), or undefined. Secret keys are not read here. */
export function parseStackConfig(get: (key: string) => string | undefined): StackConfig {
  const problems: string[] = [];
  const problem: Report = (spec, text) => {
    problems.push(`kernelyard:${spec.name} ${text}. Remedy: ${spec.remedy}`);
  };

  function read<T>(spec: KeySpec<z.ZodType<T>>): T | null {
    const given = get(spec.name);
    const text = given === undefined || given === "" ? spec.fallback : given;
    if (text === "") return null;
    const result = spec.schema.safeParse(text);
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      const where = issue.path.length === 0 ? "" : `(${issue.path.map(String).join(".")}) `;
      problem(spec, `${where}${issue.message}`);
    }
    return null;
  }
  /** For keys with a default that the schema accepts: `otherwise` is used only after a problem, and thrown away. */
  function value<T>(spec: KeySpec<z.ZodType<T>>, otherwise: T): T {
    return read(spec) ?? otherwise;
  }
  function required<T>(spec: KeySpec<z.ZodType<T>>, otherwise: T): T {
    const before = problems.length;
    const found = read(spec);
    if (found === null && problems.length === before) problem(spec, "is not set");
    return found ?? otherwise;
  }
  function refuse(): void {
    if (problems.length > 0) throw new StackConfigError(problems);
  }

  const target = required(KEYS.target, "local");
  refuse();
  refuseForeignKeys(target, get, problem);

  const common: CommonConfig = {
    port: value(KEYS.port, 3112),
    isolation: value(KEYS.isolation, "runsc"),
    auth: value(KEYS.auth, []),
    keyRotation: value(KEYS.keyRotation, "1"),
    settings: value(KEYS.settings, {}),
    sandboxContext: value(KEYS.sandboxContext, ""),
    sandboxBaseImage: value(KEYS.sandboxBaseImage, ""),
    serviceBaseImage: value(KEYS.serviceBaseImage, ""),
    protectData: value(KEYS.protectData, true),
  };

  const registry = (): RegistryConfig => {
    const config = { port: value(KEYS.registryPort, 5000), image: read(KEYS.registryImage) };
    if (config.port === common.port)
      problem(KEYS.registryPort, `is the gateway's port (kernelyard:port), ${config.port}`);
    return config;
  };
  const finish = <C extends StackConfig>(config: C): C => {
    refuse();
    return config;
  };

  switch (target) {
    case "local": {
      const bindAddress = value(KEYS.bindAddress, "127.0.0.1");
      if (common.auth.includes("none") && bindAddress !== "127.0.0.1" && bindAddress !== "::1") {
        problem(
          KEYS.auth,
          `is none while kernelyard:bindAddress is ${bindAddress}: anybody who reaches it could run code`,
        );
      }
      return finish({
        target,
        common,
        bindAddress,
        dockerHost: value(KEYS.dockerHost, ""),
        registry: registry(),
      });
    }
    case "hosts": {
      const hosts = value(KEYS.hosts, []);
      const [first, ...rest] = hosts;
      if (new Set(hosts.map((host) => host.name)).size !== hosts.length) {
        problem(KEYS.hosts, "has two machines of the same name");
      }
      if (new Set(hosts.map((host) => `${host.address}:${host.port}`)).size !== hosts.length) {
        problem(KEYS.hosts, "has the same address twice");
      }
      if (common.auth.includes("none")) {
        problem(
          KEYS.auth,
          "is none, and the gateway listens on all addresses of its host: anybody could run code",
        );
      }
      const sshKeyFile = read(KEYS.sshKeyFile);
      const several = value(KEYS.unroutedSessions, false);
      if (rest.length > 0 && !several) refuseSeveral(problem, hosts.length);
      const registryConfig = registry();
      if (first === undefined) {
        if (problems.length === 0) problem(KEYS.hosts, "names no machine");
        throw new StackConfigError(problems);
      }
      return finish({ target, common, hosts: [first, ...rest], sshKeyFile, registry: registryConfig });
    }
    case "aws": {
      const endpoints = value(KEYS.endpoints, true);
      const vpcId = read(KEYS.vpcId);
      const subnetIds = value(KEYS.subnetIds, []);
      const zones = value(KEYS.availabilityZones, []);
      if (vpcId !== null && subnetIds.length < 2)
        problem(KEYS.subnetIds, "needs at least two subnets when kernelyard:vpcId is set");
      if (vpcId === null && subnetIds.length > 0)
        problem(KEYS.vpcId, "is not set although kernelyard:subnetIds is");
      const clientCidrs = value(KEYS.clientCidrs, []);
      if (clientCidrs.length === 0) problem(KEYS.clientCidrs, "names nobody who may reach the load balancer");
      for (const range of clientCidrs) {
        if (range.endsWith("/0")) problem(KEYS.clientCidrs, `contains ${range}, the whole internet`);
      }
      const hostCount = value(KEYS.hostCount, 1);
      if (hostCount > 1 && !value(KEYS.unroutedSessions, false)) refuseSeveral(problem, hostCount);
      return finish({
        target,
        common,
        region: required(KEYS.region, ""),
        network:
          vpcId === null
            ? { kind: "new", cidr: value(KEYS.vpcCidr, ""), zones, endpoints }
            : { kind: "own", vpcId, subnetIds, endpoints },
        clientCidrs,
        certificateArn: required(KEYS.certificateArn, ""),
        domainName: required(KEYS.domainName, ""),
        instanceType: value(KEYS.instanceType, ""),
        imageParameter: value(KEYS.imageParameter, ""),
        gvisorUrl: value(KEYS.gvisorUrl, ""),
        hostCount,
        fileBucket: value(KEYS.fileBucket, false),
        diskGb: value(KEYS.diskGb, 60),
        logRetentionDays: value(KEYS.logRetentionDays, 30),
        alarmTopicArn: read(KEYS.alarmTopicArn),
        accountId: required(KEYS.accountId, ""),
      });
    }
  }
}

function refuseSeveral(problem: Report, hosts: number): void {
  problem(
    KEYS.unroutedSessions,
    `is false with ${hosts} hosts: a session lives on the host its first call reached, and nothing routes later calls there. ` +
      "Use one host, one stack for each group of users, or accept it",
  );
}

/** A key that another target owns would silently do nothing: say so. */
function refuseForeignKeys(target: Target, get: (key: string) => string | undefined, problem: Report): void {
  for (const spec of Object.values<KeySpec<z.ZodType>>(KEYS)) {
    if (spec.secret) continue;
    const given = get(spec.name);
    if (given === undefined || given === spec.fallback || spec.targets.includes(target)) continue;
    problem(spec, `belongs to target ${spec.targets.join(" or ")}, not ${target}; remove it`);
  }
}
