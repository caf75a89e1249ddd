/** What hosts without internet may reach through the VPC's endpoint of S3, which leads to every bucket of the region. Pure. */
import type { AuditBucket } from "../../config/audit.ts";
import { AUDIT_BUCKET_ACTIONS, AUDIT_OBJECT_ACTIONS } from "./file-bucket.ts";
import { allow, policy, type Statement } from "./iam.ts";

const AUDIT_ACTIONS = [...AUDIT_BUCKET_ACTIONS, ...AUDIT_OBJECT_ACTIONS];

const anybody = (statement: Statement): Statement => ({ ...statement, Principal: "*" });

/**
 * Amazon Linux' packages and ECR's layers by their own buckets' names; of the account's buckets, the stack's; and the
 * operator's for the audit log, which may be another account's.
 */
export const s3EndpointPolicy = (
  region: string,
  accountId: string,
  prefix: string,
  audit: AuditBucket | null,
): string =>
  policy(
    anybody(
      allow("s3:GetObject", [
        `arn:aws:s3:::al2023-repos-${region}-de612dc2/*`,
        `arn:aws:s3:::prod-${region}-starport-layer-bucket/*`,
      ]),
    ),
    anybody(
      allow("s3:*", [`arn:aws:s3:::${prefix}-files-*`, `arn:aws:s3:::${prefix}-files-*/*`], {
        // A bucket of that name in somebody else's account is not the stack's.
        StringEquals: { "aws:ResourceAccount": accountId },
      }),
    ),
    ...(audit === null
      ? []
      : [
          anybody(
            allow(AUDIT_ACTIONS, [
              `arn:aws:s3:::${audit.bucket}`,
              `arn:aws:s3:::${audit.bucket}/${audit.under}*`,
            ]),
          ),
        ]),
  );
