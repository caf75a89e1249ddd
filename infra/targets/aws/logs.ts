/** Logs with an end: hosts' journals, flow logs, and the load balancer's access logs. About 0.50 USD for each GB taken in. */
import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import * as ec2 from "@pulumi/aws/ec2/index.js";
import * as iam from "@pulumi/aws/iam/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/stack-config.ts";
import { allow, policy, trust } from "./iam.ts";
import { privateBucket } from "./private-bucket.ts";

export interface LogsArgs {
  readonly prefix: string;
  readonly config: AwsConfig;
  readonly kmsKeyArn: pulumi.Output<string>;
  readonly vpcId: pulumi.Output<string>;
  readonly provider: Provider;
}

export class Logs extends pulumi.ComponentResource {
  readonly hosts: cloudwatch.LogGroup;
  readonly accessBucket: pulumi.Output<string>;

  constructor(name: string, args: LogsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Logs", name, {}, opts);
    const options = { parent: this, provider: args.provider };
    this.hosts = this.#group(name, "hosts", args, options);
    this.#flow(name, args, options);
    this.accessBucket = this.#access(name, args, options);
    this.registerOutputs({ hosts: this.hosts.name, accessBucket: this.accessBucket });
  }

  #group(name: string, purpose: string, args: LogsArgs, options: pulumi.CustomResourceOptions) {
    return new cloudwatch.LogGroup(
      `${name}-${purpose}`,
      {
        name: `/${args.prefix}/${purpose}`,
        retentionInDays: args.config.logRetentionDays,
        kmsKeyId: args.kmsKeyArn,
      },
      options,
    );
  }

  /** A sandbox host with unexpected traffic is the first thing to look for. */
  #flow(name: string, args: LogsArgs, options: pulumi.CustomResourceOptions): void {
    const group = this.#group(name, "flow", args, options);
    const role = new iam.Role(
      `${name}-flow-role`,
      { assumeRolePolicy: trust({ Service: "vpc-flow-logs.amazonaws.com" }) },
      options,
    );
    const rights = new iam.RolePolicy(
      `${name}-flow-policy`,
      {
        role: role.id,
        policy: group.arn.apply((arn) =>
          policy(
            allow(["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"], `${arn}:*`),
            // Knows no resource.
            allow("logs:DescribeLogGroups", "*"),
          ),
        ),
      },
      options,
    );
    new ec2.FlowLog(
      `${name}-flow-log`,
      {
        vpcId: args.vpcId,
        trafficType: "ALL",
        logDestinationType: "cloud-watch-logs",
        logDestination: group.arn,
        iamRoleArn: role.arn,
      },
      // Without its rights it says "Access error" for a while.
      { ...options, dependsOn: [rights] },
    );
  }

  #access(name: string, args: LogsArgs, options: pulumi.CustomResourceOptions): pulumi.Output<string> {
    const { config } = args;
    const made = privateBucket(
      {
        names: { bucket: `${name}-access`, beside: `${name}-access`, policy: `${name}-access-policy` },
        bucketPrefix: `${args.prefix}-access-`,
        protect: config.common.protectData,
        // The load balancer writes its logs with S3's own key only.
        encryption: { applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" } },
        lifecycle: { expiration: { days: config.logRetentionDays } },
        statements: (arn) => [
          {
            Sid: "LoadBalancer",
            Effect: "Allow",
            Principal: { Service: "logdelivery.elasticloadbalancing.amazonaws.com" },
            Action: "s3:PutObject",
            Resource: `${arn}/AWSLogs/${config.accountId}/*`,
          },
        ],
      },
      options,
    );
    // A load balancer that is made before the policy is refused.
    return made.policy.bucket;
  }
}
