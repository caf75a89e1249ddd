/** Policy documents of IAM, as text. Pure. */

export interface Statement {
  readonly Sid?: string;
  readonly Effect: "Allow" | "Deny";
  readonly Principal?: "*" | { readonly Service: string } | { readonly AWS: string };
  readonly Action: string | readonly string[];
  readonly Resource?: string | readonly string[];
  readonly Condition?: object;
}

export const policy = (...statements: readonly Statement[]): string =>
  JSON.stringify({ Version: "2012-10-17", Statement: statements });

export const allow = (
  Action: Statement["Action"],
  Resource: string | readonly string[],
  Condition?: object,
): Statement => ({ Effect: "Allow", Action, Resource, ...(Condition === undefined ? {} : { Condition }) });

/** A role's trust policy: who may take it on, an AWS service or another role by its ARN. */
export const trust = (Principal: { readonly Service: string } | { readonly AWS: string }): string =>
  policy({ Effect: "Allow", Principal, Action: "sts:AssumeRole" });

/** Refuses requests to a bucket without TLS, whoever makes them. */
export const onlyTls = (bucketArn: string): Statement => ({
  Sid: "OnlyTls",
  Effect: "Deny",
  Principal: "*",
  Action: "s3:*",
  Resource: [bucketArn, `${bucketArn}/*`],
  Condition: { Bool: { "aws:SecureTransport": "false" } },
});
