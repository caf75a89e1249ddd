/**
 * Private subnets without a way to the internet. Hosts reach S3 by the free gateway endpoint (Amazon Linux' packages and
 * ECR's layers are there) and the other AWS APIs by interface endpoints: about 7 USD a month for each service and zone.
 */
import * as ec2 from "@pulumi/aws/ec2/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/parse.ts";
import { splitCidr } from "./cidr.ts";

/** What a host calls. Each costs money: see `endpoints` in the configuration. */
export const INTERFACE_SERVICES = [
  "ecr.api",
  "ecr.dkr",
  "ssm",
  "ssmmessages",
  "logs",
  "monitoring",
  "kms",
  "autoscaling",
  "secretsmanager",
] as const;

export interface NetworkArgs {
  readonly config: AwsConfig;
  readonly provider: Provider;
}

export class Network extends pulumi.ComponentResource {
  readonly vpcId: pulumi.Output<string>;
  readonly subnetIds: pulumi.Output<string[]>;
  /** Where the load balancer may send calls from. */
  readonly entryGroup: ec2.SecurityGroup;
  readonly hostGroup: ec2.SecurityGroup;

  constructor(name: string, args: NetworkArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Network", name, {}, opts);
    const options = { parent: this, provider: args.provider };
    const { network } = args.config;
    const made = network.kind === "new" ? this.#make(name, args, network, options) : null;
    this.vpcId = made?.vpc.id ?? pulumi.output(network.kind === "own" ? network.vpcId : "");
    this.subnetIds = pulumi.output(
      made?.subnets.map((subnet) => subnet.id) ?? (network.kind === "own" ? [...network.subnetIds] : []),
    );
    this.entryGroup = this.#group(name, "entry", "Load balancer: HTTPS from LibreChat", options);
    this.hostGroup = this.#group(name, "host", "Hosts: the gateway's port from the load balancer", options);
    this.#rules(name, args.config, options);
    if (network.endpoints) this.#endpoints(name, args.config, made?.s3PrefixListId ?? null, options);
    else this.#anyHttps(name, options);
    this.registerOutputs({ vpcId: this.vpcId, subnetIds: this.subnetIds });
  }

  #make(
    name: string,
    args: NetworkArgs,
    network: AwsConfig["network"] & { kind: "new" },
    options: pulumi.CustomResourceOptions,
  ) {
    const vpc = new ec2.Vpc(
      `${name}-vpc`,
      { cidrBlock: network.cidr, enableDnsSupport: true, enableDnsHostnames: true, tags: { Name: name } },
      options,
    );
    // The group that AWS makes by itself lets its members talk: leave it without rules.
    new ec2.DefaultSecurityGroup(`${name}-default-group`, { vpcId: vpc.id }, options);
    const routes = new ec2.RouteTable(`${name}-routes`, { vpcId: vpc.id, tags: { Name: name } }, options);
    const ranges = splitCidr(network.cidr, 4);
    const subnets = network.zones.map((zone, index) => {
      const subnet = new ec2.Subnet(
        `${name}-subnet-${zone}`,
        {
          vpcId: vpc.id,
          cidrBlock: ranges[index] ?? network.cidr,
          availabilityZone: `${args.config.region}${zone}`,
          mapPublicIpOnLaunch: false,
          tags: { Name: `${name}-${zone}` },
        },
        options,
      );
      new ec2.RouteTableAssociation(
        `${name}-routes-${zone}`,
        { subnetId: subnet.id, routeTableId: routes.id },
        options,
      );
      return subnet;
    });
    const s3 = new ec2.VpcEndpoint(
      `${name}-s3`,
      {
        vpcId: vpc.id,
        serviceName: `com.amazonaws.${args.config.region}.s3`,
        vpcEndpointType: "Gateway",
        routeTableIds: [routes.id],
      },
      options,
    );
    return { vpc, subnets, s3PrefixListId: s3.prefixListId };
  }

  #group(name: string, purpose: string, description: string, options: pulumi.CustomResourceOptions) {
    return new ec2.SecurityGroup(
      `${name}-${purpose}-group`,
      { vpcId: this.vpcId, description, revokeRulesOnDelete: true, tags: { Name: `${name}-${purpose}` } },
      options,
    );
  }

  #rules(name: string, config: AwsConfig, options: pulumi.CustomResourceOptions): void {
    const { port } = config.common;
    config.clientCidrs.forEach((range, index) => {
      new ec2.SecurityGroupRule(
        `${name}-client-${index}`,
        {
          type: "ingress",
          securityGroupId: this.entryGroup.id,
          protocol: "tcp",
          fromPort: 443,
          toPort: 443,
          cidrBlocks: [range],
          description: "HTTPS from LibreChat",
        },
        options,
      );
    });
    const between = (
      purpose: string,
      type: "ingress" | "egress",
      group: ec2.SecurityGroup,
      other: ec2.SecurityGroup,
    ) =>
      new ec2.SecurityGroupRule(
        `${name}-${purpose}`,
        {
          type,
          securityGroupId: group.id,
          sourceSecurityGroupId: other.id,
          protocol: "tcp",
          fromPort: port,
          toPort: port,
          description: "Load balancer to gateway",
        },
        options,
      );
    between("entry-out", "egress", this.entryGroup, this.hostGroup);
    between("host-in", "ingress", this.hostGroup, this.entryGroup);
  }

  #endpoints(
    name: string,
    config: AwsConfig,
    s3PrefixListId: pulumi.Output<string> | null,
    options: pulumi.CustomResourceOptions,
  ): void {
    const group = this.#group(name, "endpoint", "AWS APIs: HTTPS from the hosts", options);
    const https = { protocol: "tcp", fromPort: 443, toPort: 443 };
    new ec2.SecurityGroupRule(
      `${name}-endpoint-in`,
      {
        ...https,
        type: "ingress",
        securityGroupId: group.id,
        sourceSecurityGroupId: this.hostGroup.id,
        description: "HTTPS from the hosts",
      },
      options,
    );
    new ec2.SecurityGroupRule(
      `${name}-host-out`,
      {
        ...https,
        type: "egress",
        securityGroupId: this.hostGroup.id,
        sourceSecurityGroupId: group.id,
        description: "AWS APIs",
      },
      options,
    );
    if (s3PrefixListId === null) this.#anyHttps(name, options);
    else {
      new ec2.SecurityGroupRule(
        `${name}-host-s3`,
        {
          ...https,
          type: "egress",
          securityGroupId: this.hostGroup.id,
          prefixListIds: [s3PrefixListId],
          description: "S3: packages, image layers, files",
        },
        options,
      );
    }
    for (const service of [...INTERFACE_SERVICES, ...(config.fileBucket ? ["sts"] : [])]) {
      new ec2.VpcEndpoint(
        `${name}-${service.replace(".", "-")}`,
        {
          vpcId: this.vpcId,
          serviceName: `com.amazonaws.${config.region}.${service}`,
          vpcEndpointType: "Interface",
          privateDnsEnabled: true,
          subnetIds: this.subnetIds,
          securityGroupIds: [group.id],
        },
        options,
      );
    }
  }

  /** Your own network decides where the hosts' HTTPS can go. */
  #anyHttps(name: string, options: pulumi.CustomResourceOptions): void {
    new ec2.SecurityGroupRule(
      `${name}-host-https`,
      {
        type: "egress",
        securityGroupId: this.hostGroup.id,
        protocol: "tcp",
        fromPort: 443,
        toPort: 443,
        cidrBlocks: ["0.0.0.0/0"],
        description: "AWS APIs by the network's own routes",
      },
      options,
    );
  }
}
