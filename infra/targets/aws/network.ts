/**
 * Private subnets without a way to the internet. Hosts reach S3 by the free gateway endpoint (Amazon Linux' packages and
 * ECR's layers are there) and the other AWS APIs by interface endpoints: about 7 USD a month for each service and zone.
 */
import * as ec2 from "@pulumi/aws/ec2/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as vpc from "@pulumi/aws/vpc/index.js";
import * as pulumi from "@pulumi/pulumi";
import { auditBucket } from "../../config/audit.ts";
import type { AwsConfig } from "../../config/stack-config.ts";
import { splitCidr } from "./cidr.ts";
import { s3EndpointPolicy } from "./s3-endpoint.ts";

/** What a host calls. Each costs money: see `endpoints` in the configuration. */
export const INTERFACE_SERVICES = [
  "ecr.api",
  "ecr.dkr",
  "ssm",
  "ssmmessages",
  "logs",
  "monitoring",
  "autoscaling",
  "secretsmanager",
] as const;

export interface NetworkArgs {
  /** Physical names begin with it. */
  readonly prefix: string;
  readonly config: AwsConfig;
  readonly provider: Provider;
}

const HTTPS = { ipProtocol: "tcp", fromPort: 443, toPort: 443 };

export class Network extends pulumi.ComponentResource {
  readonly vpcId: pulumi.Output<string>;
  /** Null: your own network. */
  readonly routeTableId: pulumi.Output<string> | null;
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
    this.routeTableId = made?.routes.id ?? null;
    this.subnetIds = pulumi.output(
      made?.subnets.map((subnet) => subnet.id) ?? (network.kind === "own" ? [...network.subnetIds] : []),
    );
    this.entryGroup = this.#group(name, "entry", "Load balancer: HTTPS from LibreChat", options);
    this.hostGroup = this.#group(name, "host", "Hosts: the gateway's port from the load balancer", options);
    this.#rules(name, args.config, options);
    const endpoints = network.kind === "new" ? network.endpoints : network.endpointClients !== null;
    if (endpoints) this.#endpoints(name, args.config, made?.s3PrefixListId ?? null, options);
    else this.#anyHttps(name, options);
    this.registerOutputs({ vpcId: this.vpcId, subnetIds: this.subnetIds });
  }

  #make(
    name: string,
    args: NetworkArgs,
    network: AwsConfig["network"] & { kind: "new" },
    options: pulumi.CustomResourceOptions,
  ) {
    const made = new ec2.Vpc(
      `${name}-vpc`,
      { cidrBlock: network.cidr, enableDnsSupport: true, enableDnsHostnames: true, tags: { Name: name } },
      options,
    );
    // The group that AWS makes by itself lets its members talk: leave it without rules.
    new ec2.DefaultSecurityGroup(`${name}-default-group`, { vpcId: made.id }, options);
    const routes = new ec2.RouteTable(`${name}-routes`, { vpcId: made.id, tags: { Name: name } }, options);
    const ranges = splitCidr(network.cidr, 4);
    const subnets = network.zones.map((zone, index) => {
      const subnet = new ec2.Subnet(
        `${name}-subnet-${zone}`,
        {
          vpcId: made.id,
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
        vpcId: made.id,
        serviceName: `com.amazonaws.${args.config.region}.s3`,
        vpcEndpointType: "Gateway",
        routeTableIds: [routes.id],
        policy: s3EndpointPolicy(
          args.config.region,
          args.config.accountId,
          args.prefix,
          auditBucket(args.config.common),
        ),
      },
      options,
    );
    return { vpc: made, routes, subnets, s3PrefixListId: s3.prefixListId };
  }

  #group(name: string, purpose: string, description: string, options: pulumi.CustomResourceOptions) {
    return new ec2.SecurityGroup(
      `${name}-${purpose}-group`,
      { vpcId: this.vpcId, description, revokeRulesOnDelete: true, tags: { Name: `${name}-${purpose}` } },
      options,
    );
  }

  #rules(name: string, config: AwsConfig, options: pulumi.CustomResourceOptions): void {
    // Named by what they let in: a range that is moved in the list, or stays when another goes, is the same rule.
    for (const range of config.clientCidrs) {
      new vpc.SecurityGroupIngressRule(
        `${name}-client-${range.replace(/[./]/g, "-")}`,
        {
          ...HTTPS,
          securityGroupId: this.entryGroup.id,
          cidrIpv4: range,
          description: "HTTPS from LibreChat",
        },
        options,
      );
    }
    const { port } = config.common;
    const gateway = {
      ipProtocol: "tcp",
      fromPort: port,
      toPort: port,
      description: "Load balancer to gateway",
    };
    new vpc.SecurityGroupEgressRule(
      `${name}-entry-out`,
      { ...gateway, securityGroupId: this.entryGroup.id, referencedSecurityGroupId: this.hostGroup.id },
      options,
    );
    new vpc.SecurityGroupIngressRule(
      `${name}-host-in`,
      { ...gateway, securityGroupId: this.hostGroup.id, referencedSecurityGroupId: this.entryGroup.id },
      options,
    );
    if (config.fleet !== null) this.#hops(name, config.fleet.port, options);
  }

  /** Hosts hand calls to each other. */
  #hops(name: string, port: number, options: pulumi.CustomResourceOptions): void {
    const hop = {
      ipProtocol: "tcp",
      fromPort: port,
      toPort: port,
      securityGroupId: this.hostGroup.id,
      referencedSecurityGroupId: this.hostGroup.id,
      description: "Host to host",
    };
    new vpc.SecurityGroupEgressRule(`${name}-hop-out`, hop, options);
    new vpc.SecurityGroupIngressRule(`${name}-hop-in`, hop, options);
  }

  #endpoints(
    name: string,
    config: AwsConfig,
    s3PrefixListId: pulumi.Output<string> | null,
    options: pulumi.CustomResourceOptions,
  ): void {
    const group = this.#group(name, "endpoint", "AWS APIs: HTTPS from the hosts", options);
    new vpc.SecurityGroupIngressRule(
      `${name}-endpoint-in`,
      {
        ...HTTPS,
        securityGroupId: group.id,
        referencedSecurityGroupId: this.hostGroup.id,
        description: "HTTPS from the hosts",
      },
      options,
    );
    if (config.network.kind === "own" && config.network.endpointClients !== null) {
      // Their names lead every machine of the VPC to them.
      new vpc.SecurityGroupIngressRule(
        `${name}-endpoint-vpc`,
        {
          ...HTTPS,
          securityGroupId: group.id,
          cidrIpv4: config.network.endpointClients,
          description: "HTTPS from the VPC",
        },
        options,
      );
    }
    new vpc.SecurityGroupEgressRule(
      `${name}-host-out`,
      {
        ...HTTPS,
        securityGroupId: this.hostGroup.id,
        referencedSecurityGroupId: group.id,
        description: "AWS APIs",
      },
      options,
    );
    if (s3PrefixListId === null) this.#anyHttps(name, options);
    else {
      new vpc.SecurityGroupEgressRule(
        `${name}-host-s3`,
        {
          ...HTTPS,
          securityGroupId: this.hostGroup.id,
          prefixListId: s3PrefixListId,
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
    new vpc.SecurityGroupEgressRule(
      `${name}-host-https`,
      {
        ...HTTPS,
        securityGroupId: this.hostGroup.id,
        cidrIpv4: "0.0.0.0/0",
        description: "AWS APIs by the network's own routes",
      },
      options,
    );
  }
}
