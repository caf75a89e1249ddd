/** What a host may do: pull its two images, read its one secret, write its logs and numbers, finish its own life cycle. */
import * as iam from "@pulumi/aws/iam/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/stack-config.ts";
import { allow, policy, trust } from "./iam.ts";
import { METRIC_NAMESPACE } from "./user-data.ts";

export interface HostRoleArgs {
  readonly config: AwsConfig;
  readonly groupName: string;
  readonly repositoryArns: pulumi.Input<string>[];
  readonly secretArn: pulumi.Input<string>;
  readonly logGroupArn: pulumi.Input<string>;
  readonly kmsKeyArn: pulumi.Input<string>;
  readonly provider: Provider;
}

export interface HostPolicyInput {
  readonly region: string;
  readonly accountId: string;
  readonly groupName: string;
  readonly repositoryArns: readonly string[];
  readonly secretArn: string;
  readonly logGroupArn: string;
  readonly kmsKeyArn: string;
}

/** Pure. */
export function hostPolicy(input: HostPolicyInput): string {
  return policy(
    // These two calls know no resource.
    allow("ecr:GetAuthorizationToken", "*"),
    allow("cloudwatch:PutMetricData", "*", { StringEquals: { "cloudwatch:namespace": METRIC_NAMESPACE } }),
    allow(
      ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
      input.repositoryArns,
    ),
    allow("secretsmanager:GetSecretValue", input.secretArn),
    allow("kms:Decrypt", input.kmsKeyArn),
    allow(["logs:CreateLogStream", "logs:PutLogEvents"], `${input.logGroupArn}:*`),
    // Session Manager instead of ssh, and no more than that: the managed policy also reads every parameter of the account.
    allow(
      [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ],
      "*",
    ),
    allow(
      ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"],
      `arn:aws:autoscaling:${input.region}:${input.accountId}:autoScalingGroup:*:autoScalingGroupName/${input.groupName}`,
    ),
  );
}

export class HostRole extends pulumi.ComponentResource {
  readonly instanceProfileArn: pulumi.Output<string>;
  readonly roleName: pulumi.Output<string>;
  readonly roleArn: pulumi.Output<string>;

  constructor(name: string, args: HostRoleArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:HostRole", name, {}, opts);
    const options = { parent: this, provider: args.provider };
    const role = new iam.Role(
      `${name}-role`,
      { assumeRolePolicy: trust({ Service: "ec2.amazonaws.com" }) },
      options,
    );
    const rights = new iam.RolePolicy(
      `${name}-policy`,
      {
        role: role.id,
        policy: pulumi
          .all([pulumi.all(args.repositoryArns), args.secretArn, args.logGroupArn, args.kmsKeyArn])
          .apply(([repositoryArns, secretArn, logGroupArn, kmsKeyArn]) =>
            hostPolicy({
              region: args.config.region,
              accountId: args.config.accountId,
              groupName: args.groupName,
              repositoryArns,
              secretArn,
              logGroupArn,
              kmsKeyArn,
            }),
          ),
      },
      options,
    );
    const profile = new iam.InstanceProfile(
      `${name}-profile`,
      { role: role.name },
      // A host that starts without its rights fails its bootstrap.
      { ...options, dependsOn: [rights] },
    );
    this.instanceProfileArn = profile.arn;
    this.roleName = role.id;
    this.roleArn = role.arn;
    this.registerOutputs({ instanceProfileArn: this.instanceProfileArn });
  }
}
