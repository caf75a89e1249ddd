/**
 * Uploaded and produced files in a bucket: private, encrypted by the stack's key, over TLS only, and gone after their time
 * even if no gateway runs to sweep. No versions are kept: a file that was deleted is deleted. A role of its own may use it
 * and nothing else; hosts take that role on and hand its short-lived credentials to the gateway, whose container cannot
 * reach the host's own. About 0.03 USD a month for each GB, and 1 USD for 200,000 files written.
 */
import * as iam from "@pulumi/aws/iam/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import type * as s3 from "@pulumi/aws/s3/index.js";
import * as pulumi from "@pulumi/pulumi";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";
import { type AuditBucket, auditBucket } from "../../config/audit.ts";
import type { AwsConfig } from "../../config/stack-config.ts";
import type { Environment } from "../../services/environment.ts";
import { allow, policy, trust } from "./iam.ts";
import { privateBucket } from "./private-bucket.ts";

const DAY_MS = 86_400_000;

export interface FilesArgs {
  readonly prefix: string;
  readonly config: AwsConfig;
  readonly kmsKeyArn: pulumi.Output<string>;
  readonly host: { readonly roleName: pulumi.Output<string>; readonly roleArn: pulumi.Output<string> };
  readonly provider: Provider;
}

/** Nothing is removed there. */
export const AUDIT_BUCKET_ACTIONS = ["s3:ListBucket", "s3:ListBucketMultipartUploads"];
export const AUDIT_OBJECT_ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"];

/** Pure: what the gateway may do with the bucket, and with the operator's own for the audit log. */
export function filesPolicy(bucketArn: string, kmsKeyArn: string, audit: AuditBucket | null): string {
  const auditArn = `arn:aws:s3:::${audit?.bucket}`;
  return policy(
    allow(["s3:ListBucket", "s3:ListBucketMultipartUploads"], bucketArn),
    allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], `${bucketArn}/*`),
    allow(["kms:Decrypt", "kms:GenerateDataKey"], kmsKeyArn),
    ...(audit === null
      ? []
      : [allow(AUDIT_BUCKET_ACTIONS, auditArn), allow(AUDIT_OBJECT_ACTIONS, `${auditArn}/${audit.under}*`)]),
  );
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
    return privateBucket(
      {
        names: { bucket: `${name}-bucket`, beside: name, policy: `${name}-tls` },
        bucketPrefix: `${args.prefix}-files-`,
        protect: args.config.common.protectData,
        encryption: {
          applyServerSideEncryptionByDefault: { sseAlgorithm: "aws:kms", kmsMasterKeyId: args.kmsKeyArn },
          // One call to the key for many objects.
          bucketKeyEnabled: true,
        },
        lifecycle: {
          expiration: { days: retentionDays(args.config) },
          abortIncompleteMultipartUpload: { daysAfterInitiation: 1 },
        },
      },
      options,
    ).bucket;
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
        assumeRolePolicy: args.host.roleArn.apply((arn) => trust({ AWS: arn })),
      },
      options,
    );
    new iam.RolePolicy(
      `${name}-policy`,
      {
        role: role.id,
        policy: pulumi
          .all([bucketArn, args.kmsKeyArn])
          .apply(([arn, key]) => filesPolicy(arn, key, auditBucket(args.config.common))),
      },
      options,
    );
    new iam.RolePolicy(
      `${name}-host-policy`,
      {
        role: args.host.roleName,
        policy: role.arn.apply((arn) => policy(allow("sts:AssumeRole", arn))),
      },
      options,
    );
    return role.arn;
  }
}
