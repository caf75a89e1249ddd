/** What every bucket of a stack says about who may speak to it. */

/** The statement that refuses requests without TLS, whoever makes them. */
export const onlyTls = (bucketArn: string) => ({
  Sid: "OnlyTls",
  Effect: "Deny",
  Principal: "*",
  Action: "s3:*",
  Resource: [bucketArn, `${bucketArn}/*`],
  Condition: { Bool: { "aws:SecureTransport": "false" } },
});
