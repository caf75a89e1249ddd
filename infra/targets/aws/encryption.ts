/** One KMS key for the stack's disks, images, logs and secrets. About 1 USD a month. */
import * as iam from "@pulumi/aws/iam/index.js";
import * as kms from "@pulumi/aws/kms/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/stack-config.ts";
import { policy } from "./iam.ts";

/** Pure. The group's own service role must be named, or hosts with encrypted disks die at launch without a word. */
export function keyPolicy(accountId: string, region: string, scalingRoleArn: string): string {
  const use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"];
  return policy(
    {
      Sid: "Account",
      Effect: "Allow",
      Principal: { AWS: `arn:aws:iam::${accountId}:root` },
      Action: "kms:*",
      Resource: "*",
    },
    { Sid: "HostDisks", Effect: "Allow", Principal: { AWS: scalingRoleArn }, Action: use, Resource: "*" },
    {
      Sid: "HostDiskGrants",
      Effect: "Allow",
      Principal: { AWS: scalingRoleArn },
      Action: "kms:CreateGrant",
      Resource: "*",
      Condition: { Bool: { "kms:GrantIsForAWSResource": "true" } },
    },
    {
      Sid: "Logs",
      Effect: "Allow",
      Principal: { Service: `logs.${region}.amazonaws.com` },
      Action: use,
      Resource: "*",
      Condition: {
        ArnLike: {
          "kms:EncryptionContext:aws:logs:arn": `arn:aws:logs:${region}:${accountId}:log-group:*`,
        },
      },
    },
  );
}

export class EncryptionKey extends pulumi.ComponentResource {
  readonly arn: pulumi.Output<string>;
  /** For the auto scaling group. */
  readonly scalingRoleArn: pulumi.Output<string>;

  constructor(
    name: string,
    args: { readonly prefix: string; readonly config: AwsConfig; readonly provider: Provider },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("kernelyard:aws:EncryptionKey", name, {}, opts);
    const { config } = args;
    const protect = config.common.protectData;
    // One of the stack's own: the account's is made with its first group, and KMS takes no principal that is not there yet.
    const scaling = new iam.ServiceLinkedRole(
      `${name}-scaling-role`,
      { awsServiceName: "autoscaling.amazonaws.com", customSuffix: args.prefix },
      { parent: this, provider: args.provider, protect },
    );
    const key = new kms.Key(
      `${name}-key`,
      {
        description: "Kernelyard: disks, images, logs, secrets",
        enableKeyRotation: true,
        deletionWindowInDays: 30,
        policy: scaling.arn.apply((arn) => keyPolicy(config.accountId, config.region, arn)),
      },
      // What it has encrypted cannot be read without it.
      { parent: this, provider: args.provider, protect },
    );
    this.arn = key.arn;
    this.scalingRoleArn = scaling.arn;
    this.registerOutputs({ arn: this.arn, scalingRoleArn: this.scalingRoleArn });
  }
}
