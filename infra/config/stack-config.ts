/** A stack's configuration as the program uses it. */
import type { z } from "zod";
import type { KEYS, KeyName } from "./schema.ts";
import type { FileStore, HostConfig } from "./values.ts";

type Value<K extends KeyName> = z.output<(typeof KEYS)[K]["schema"]>;

export interface CommonConfig {
  /** Of the gateway, on its machine. */
  readonly port: number;
  readonly isolation: Value<"isolation">;
  readonly auth: Value<"auth">;
  readonly keyRotation: string;
  /** `KERNELYARD_*` beside what the deployment decides, as text. */
  readonly settings: Readonly<Record<string, string>>;
  readonly sandboxContext: string;
  /** Of the sandbox image. */
  readonly profile: string;
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
  readonly bindAddress: string;
  /** At least one; the first carries the registry. */
  readonly hosts: readonly [HostConfig, ...HostConfig[]];
  readonly sshKeyFile: string | null;
  readonly registry: RegistryConfig;
  /** Null: files are on the machine. */
  readonly fileStore: FileStore | null;
  /** Null: one machine, which is alone. */
  readonly fleet: FleetConfig | null;
}

export interface FleetConfig {
  /** By which machines hand calls to each other. */
  readonly port: number;
  readonly valkeyPort: number;
  /** By digest; null: built from Debian's package. */
  readonly valkeyImage: string | null;
  /** One address for all machines; null: LibreChat is given the first one's. */
  readonly entry: EntryConfig | null;
}

export interface EntryConfig {
  /** On the first machine. */
  readonly port: number;
  /** By digest; null: built from Debian's package. */
  readonly image: string | null;
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
        /** The VPC's range, whose machines use the endpoints as well; null: it has its own way to the AWS APIs. */
        readonly endpointClients: string | null;
      };
  readonly clientCidrs: readonly string[];
  readonly certificateArn: string;
  readonly domainName: string;
  readonly instanceType: string;
  readonly imageParameter: string;
  /** Of the machine image. */
  readonly rootDevice: string;
  /** Of the instances, and so of the images: `linux/amd64` or `linux/arm64`. */
  readonly platform: string;
  readonly gvisorUrl: string;
  readonly hostCount: number;
  /** Null: there are `hostCount`. */
  readonly hostCountMax: number | null;
  /** Null: one host, which is alone. */
  readonly fleet: {
    /** By which hosts hand calls to each other. */
    readonly port: number;
    readonly nodeType: string;
    readonly durable: boolean;
  } | null;
  readonly hostLifetimeDays: number;
  readonly fileBucket: boolean;
  readonly diskGb: number;
  readonly logRetentionDays: number;
  readonly alarmTopicArn: string | null;
  readonly accountId: string;
}

export type StackConfig = LocalConfig | HostsConfig | AwsConfig;
