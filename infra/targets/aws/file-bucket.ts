/**
 * Uploaded and produced files in a bucket: private, encrypted by the stack's key, over TLS only, and gone after their time
 * even if no gateway runs to sweep. No versions are kept: a file that was deleted is deleted. A role of its own may use it
 * and nothing else; hosts take that role on and hand its short-lived credentials to the gateway, whose container cannot
 * reach the host's own. About 0.03 USD a month for each GB, and 1 USD for 200,000 files written.
 */
import * as iam from "@pulumi/aws/iam/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as s3 from "@pulumi/aws/s3/index.js";
import * as pulumi from "@pulumi/pulumi";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";
import { onlyTls } from "../../aws/bucket-policy.ts";
import type { AwsConfig } from "../../config/parse.ts";
import type { Environment } from "../../services/environment.ts";

const DAY_MS = 86_400_000;

export interface FilesArgs {
  readonly prefix: string;
  readonly config: AwsConfig;
  readonly kmsKeyArn: pulumi.Output<string>;
  readonly host: { readonly roleName: pulumi.Output<string>; readonly roleArn: pulumi.Output<string> };
  readonly provider: Provider;
}

/** Pure: what the gateway may do with the bucket. */
export function filesPolicy(bucketArn: string, kmsKeyArn: string): string {
  const allow = (Action: string[], Resource: string) => ({ Effect: "Allow", Action, Resource });
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: [
      allow(["s3:ListBucket", "s3:ListBucketMultipartUploads"], bucketArn),
      allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], `${bucketArn}/*`),
      allow(["kms:Decrypt", "kms:GenerateDataKey"], kmsKeyArn),
    ],
  });
}

/** Pure: the gateway's settings. */
export function filesEnvironment(bucket: string, region: string): Environment {
  return { KERNELYARD_FILE_STORE: "s3", KERNELYARD_S3_BUCKET: bucket, KERNELYARD_S3_REGION: region };
}

/** Pure. The store counts whole days from midnight: one more, so that nothing goes before the gateway lets it. */
export function retentionDays(config: AwsConfig): number {
  const spec = SETTINGS.KERNELYARD_FILE_TTL_MS;
  const ttlMs = spec.schema.parse(config.common.settings.KERNELYARD_FILE_TTL_MS ?? spec.fallback);
  return Math.ceil(ttlMs / DAY_MS) + 1;
}

export class Files extends pulumi.ComponentResource {
  readonly bucket: pulumi.Output<string>;
  readonly roleArn: pulumi.Output<string>;

  constructor(name: string, args: FilesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Files", name, {}, opts);
    const options = { parent: this, provider: args.provider };
    const bucket = this.#bucket(name, args, options);
    this.bucket = bucket.id;
    this.roleArn = this.#role(name, args, bucket.arn, options);
    this.registerOutputs({ bucket: this.bucket, roleArn: this.roleArn });
  }

  #bucket(name: string, args: FilesArgs, options: pulumi.CustomResourceOptions): s3.Bucket {
    const { protectData } = args.config.common;
    const bucket = new s3.Bucket(
      `${name}-bucket`,
      { bucketPrefix: `${args.prefix}-files-`, forceDestroy: !protectData },
      { ...options, protect: protectData },
    );
    const of = { bucket: bucket.id };
    new s3.BucketPublicAccessBlock(
      `${name}-private`,
      {
        ...of,
        blockPublicAcls: true,
        blockPublicPolicy: true,
        ignorePublicAcls: true,
        restrictPublicBuckets: true,
      },
      options,
    );
    new s3.BucketServerSideEncryptionConfiguration(
      `${name}-encryption`,
      {
        ...of,
        rules: [
          {
            applyServerSideEncryptionByDefault: { sseAlgorithm: "aws:kms", kmsMasterKeyId: args.kmsKeyArn },
            // One call to the key for many objects.
            bucketKeyEnabled: true,
          },
        ],
      },
      options,
    );
    new s3.BucketLifecycleConfiguration(
      `${name}-lifecycle`,
      {
        ...of,
        rules: [
          {
            id: "expire",
            status: "Enabled",
            filter: {},
            expiration: { days: retentionDays(args.config) },
            abortIncompleteMultipartUpload: { daysAfterInitiation: 1 },
          },
        ],
      },
      options,
    );
    new s3.BucketPolicy(
      `${name}-tls`,
      {
        ...of,
        policy: bucket.arn.apply((arn) =>
          JSON.stringify({
            Version: "2012-10-17",
            Statement: [onlyTls(arn)],
          }),
        ),
      },
      options,
    );
    return bucket;
  }

  #role(
    name: string,
    args: FilesArgs,
    bucketArn: pulumi.Output<string>,
    options: pulumi.CustomResourceOptions,
  ): pulumi.Output<string> {
    const role = new iam.Role(
      `${name}-role`,
      {
        assumeRolePolicy: args.host.roleArn.apply((arn) =>
          JSON.stringify({
            Version: "2012-10-17",
            Statement: [{ Effect: "Allow", Principal: { AWS: arn }, Action: "sts:AssumeRole" }],
          }),
        ),
      },
      options,
    );
    new iam.RolePolicy(
      `${name}-policy`,
      {
        role: role.id,
        policy: pulumi.all([bucketArn, args.kmsKeyArn]).apply(([arn, key]) => filesPolicy(arn, key)),
      },
      options,
    );
    new iam.RolePolicy(
      `${name}-host-policy`,
      {
        role: args.host.roleName,
        policy: role.arn.apply((arn) =>
          JSON.stringify({
            Version: "2012-10-17",
            Statement: [{ Effect: "Allow", Action: "sts:AssumeRole", Resource: arn }],
          }),
        ),
      },
      options,
    );
    return role.arn;
  }
}
