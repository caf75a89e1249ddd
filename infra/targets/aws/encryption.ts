/** One KMS key for the stack's disks, images, logs and secrets. About 1 USD a month. */
import * as kms from "@pulumi/aws/kms/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/parse.ts";
import { policy } from "./iam.ts";

/** Pure. The auto scaling service's own role must be named, or hosts with encrypted disks die at launch without a word. */
export function keyPolicy(accountId: string, region: string): string {
  const scaling = `arn:aws:iam::${accountId}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling`;
  const use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"];
  return policy(
    {
      Sid: "Account",
      Effect: "Allow",
      Principal: { AWS: `arn:aws:iam::${accountId}:root` },
      Action: "kms:*",
      Resource: "*",
    },
    { Sid: "HostDisks", Effect: "Allow", Principal: { AWS: scaling }, Action: use, Resource: "*" },
    {
      Sid: "HostDiskGrants",
      Effect: "Allow",
      Principal: { AWS: scaling },
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

  constructor(
    name: string,
    args: { readonly config: AwsConfig; readonly provider: Provider },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("kernelyard:aws:EncryptionKey", name, {}, opts);
    const { config } = args;
    const key = new kms.Key(
      `${name}-key`,
      {
        description: "Kernelyard: disks, images, logs, secrets",
        enableKeyRotation: true,
        deletionWindowInDays: 30,
        policy: keyPolicy(config.accountId, config.region),
      },
      // What it has encrypted cannot be read without it.
      { parent: this, provider: args.provider, protect: config.common.protectData },
    );
    this.arn = key.arn;
    this.registerOutputs({ arn: this.arn });
  }
}
