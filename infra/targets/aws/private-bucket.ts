/** A bucket that nobody outside reaches: no public access, encrypted, TLS only, and nothing in it stays for ever. */
import * as s3 from "@pulumi/aws/s3/index.js";
import type { s3 as inputs } from "@pulumi/aws/types/input.js";
import type * as pulumi from "@pulumi/pulumi";
import { onlyTls, policy, type Statement } from "./iam.ts";

export interface PrivateBucketArgs {
  /** Resource names: the bucket's own, what the others' begin with, and its policy's. */
  readonly names: { readonly bucket: string; readonly beside: string; readonly policy: string };
  /** Physical names begin with it. */
  readonly bucketPrefix: string;
  /** Keeps the bucket and all that guards it from `pulumi destroy`, and what is in it from the bucket's end. */
  readonly protect: boolean;
  readonly encryption: inputs.BucketServerSideEncryptionConfigurationRule;
  /** When objects go, and uploads that nobody finished. */
  readonly lifecycle: Pick<
    inputs.BucketLifecycleConfigurationRule,
    "expiration" | "abortIncompleteMultipartUpload"
  >;
  /** Who may use it beside the account's own roles. */
  readonly statements?: (bucketArn: string) => readonly Statement[];
}

export function privateBucket(
  args: PrivateBucketArgs,
  options: pulumi.CustomResourceOptions,
): { readonly bucket: s3.Bucket; readonly policy: s3.BucketPolicy } {
  const { names } = args;
  const kept = { ...options, protect: args.protect };
  const bucket = new s3.Bucket(
    names.bucket,
    { bucketPrefix: args.bucketPrefix, forceDestroy: !args.protect },
    kept,
  );
  const of = { bucket: bucket.id };
  new s3.BucketPublicAccessBlock(
    `${names.beside}-private`,
    {
      ...of,
      blockPublicAcls: true,
      blockPublicPolicy: true,
      ignorePublicAcls: true,
      restrictPublicBuckets: true,
    },
    kept,
  );
  new s3.BucketServerSideEncryptionConfiguration(
    `${names.beside}-encryption`,
    { ...of, rules: [args.encryption] },
    kept,
  );
  new s3.BucketLifecycleConfiguration(
    `${names.beside}-lifecycle`,
    { ...of, rules: [{ id: "expire", status: "Enabled", filter: {}, ...args.lifecycle }] },
    kept,
  );
  const bucketPolicy = new s3.BucketPolicy(
    names.policy,
    { ...of, policy: bucket.arn.apply((arn) => policy(...(args.statements?.(arn) ?? []), onlyTls(arn))) },
    kept,
  );
  return { bucket, policy: bucketPolicy };
}
