/**
 * Who has which session, for several hosts: ElastiCache for Valkey in cluster mode with one shard (all keys are in one slot) and
 * a replica in another zone; TLS, a token, and reached from the hosts alone. Two cache.t4g.small are about 38 USD a month.
 */
import * as ec2 from "@pulumi/aws/ec2/index.js";
import * as elasticache from "@pulumi/aws/elasticache/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as vpc from "@pulumi/aws/vpc/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/stack-config.ts";
import type { Network } from "./network.ts";

const PORT = 6379;
/** The first version that can be durable. */
const VERSION = "9.0";
const FAMILY = "valkey9";

export interface DirectoryArgs {
  readonly prefix: string;
  readonly fleet: NonNullable<AwsConfig["fleet"]>;
  readonly protectData: boolean;
  readonly network: Network;
  readonly kmsKeyArn: pulumi.Output<string>;
  readonly password: pulumi.Output<string>;
  readonly provider: Provider;
}

/** Names that AWS gives the nodes, the first shard's primary and replica at the start. */
export const nodesOf = (prefix: string): readonly string[] => [`${prefix}-0001-001`, `${prefix}-0001-002`];

export class Directory extends pulumi.ComponentResource {
  /** For the gateways. Secret. */
  readonly url: pulumi.Output<string>;

  constructor(name: string, args: DirectoryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Directory", name, {}, opts);
    const options = { parent: this, provider: args.provider };
    const group = this.#group(name, args, options);
    const engine = this.#engine(name, args, group, options);
    this.url = pulumi.secret(
      pulumi
        .all([engine.configurationEndpointAddress, args.password])
        .apply(([address, password]) => `rediss://:${password}@${address}:${PORT}?cluster=true`),
    );
    this.registerOutputs({});
  }

  /** From the hosts, and nowhere to. */
  #group(name: string, args: DirectoryArgs, options: pulumi.CustomResourceOptions): ec2.SecurityGroup {
    const { hostGroup, vpcId } = args.network;
    const group = new ec2.SecurityGroup(
      `${name}-group`,
      {
        vpcId,
        description: "Directory of sessions: from the hosts",
        revokeRulesOnDelete: true,
        tags: { Name: name },
      },
      options,
    );
    const rule = { ipProtocol: "tcp", fromPort: PORT, toPort: PORT, description: "Hosts to directory" };
    new vpc.SecurityGroupIngressRule(
      `${name}-in`,
      { ...rule, securityGroupId: group.id, referencedSecurityGroupId: hostGroup.id },
      options,
    );
    new vpc.SecurityGroupEgressRule(
      `${name}-host-out`,
      { ...rule, securityGroupId: hostGroup.id, referencedSecurityGroupId: group.id },
      options,
    );
    return group;
  }

  #engine(
    name: string,
    args: DirectoryArgs,
    group: ec2.SecurityGroup,
    options: pulumi.CustomResourceOptions,
  ): elasticache.ReplicationGroup {
    const { durable, nodeType } = args.fleet;
    const subnets = new elasticache.SubnetGroup(
      `${name}-subnets`,
      { name: `${args.prefix}-directory`, description: "Kernelyard", subnetIds: args.network.subnetIds },
      options,
    );
    const parameters = new elasticache.ParameterGroup(
      `${name}-parameters`,
      {
        name: `${args.prefix}-directory`,
        description: "Kernelyard",
        family: FAMILY,
        // AWS' own group drops keys when it is full; a gateway refuses such an engine.
        parameters: [
          { name: "cluster-enabled", value: "yes" },
          { name: "maxmemory-policy", value: "noeviction" },
        ],
      },
      options,
    );
    return new elasticache.ReplicationGroup(
      `${name}-engine`,
      {
        replicationGroupId: args.prefix,
        description: "Kernelyard: who has which session",
        engine: "valkey",
        engineVersion: VERSION,
        nodeType,
        port: PORT,
        parameterGroupName: parameters.name,
        subnetGroupName: subnets.name,
        securityGroupIds: [group.id],
        clusterMode: "enabled",
        numNodeGroups: 1,
        replicasPerNodeGroup: 1,
        automaticFailoverEnabled: true,
        multiAzEnabled: true,
        atRestEncryptionEnabled: true,
        kmsKeyId: args.kmsKeyArn,
        transitEncryptionEnabled: true,
        transitEncryptionMode: "required",
        authToken: args.password,
        // Hosts with the old one are served until the new ones are there.
        authTokenUpdateStrategy: "ROTATE",
        durability: durable ? "sync" : "disabled",
        autoMinorVersionUpgrade: true,
        applyImmediately: true,
      },
      {
        ...options,
        protect: durable && args.protectData,
        // AWS decides it when the group is made.
        replaceOnChanges: ["durability"],
        deleteBeforeReplace: true,
        customTimeouts: { create: "60m", update: "60m", delete: "60m" },
      },
    );
  }
}
