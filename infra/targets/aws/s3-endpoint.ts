/** What hosts without internet may reach through the VPC's endpoint of S3, which leads to every bucket of the region. Pure. */
import { allow, policy, type Statement } from "./iam.ts";

const anybody = (statement: Statement): Statement => ({ ...statement, Principal: "*" });

/** Amazon Linux' packages and ECR's layers by their own buckets' names; of the account's buckets, the stack's. */
export const s3EndpointPolicy = (region: string, accountId: string, prefix: string): string =>
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
  );
