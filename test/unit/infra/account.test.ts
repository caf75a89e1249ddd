/** The account that stands for AWS refuses what AWS or its provider does: each of these was in a stack once. */
import { describe, expect, it } from "vitest";
import { ACCOUNT, Account, type Made } from "../../infra/providers/account.ts";

const KEYS = { AWS_ACCESS_KEY_ID: "AKIATEST", AWS_SECRET_ACCESS_KEY: "secret" };
const allowedAccountIds = JSON.stringify([ACCOUNT]);

/** Made before, by type. */
function accountWith(...made: readonly (readonly [type: string, name: string, inputs: object])[]) {
  const account = new Account([]);
  const all: Made[] = made.map(([type, name, inputs]) => account.create(type, name, { ...inputs }));
  return { account, all };
}

describe("the provider", () => {
  const configured = (configuration: object, env: NodeJS.ProcessEnv = KEYS) =>
    new Account([]).configure({ ...configuration }, env);

  it("takes the account's own credentials", () => {
    expect(() => configured({ allowedAccountIds })).not.toThrow();
  });

  it("knows no account when it may not ask for one, and then allows none", () => {
    const skips = { skipCredentialsValidation: "true", skipRequestingAccountId: "true" };
    expect(() => configured({ allowedAccountIds, ...skips })).toThrow("AWS account ID not allowed: ");
  });

  it("does nothing without credentials", () => {
    expect(() => configured({ allowedAccountIds }, {})).toThrow("No valid credential sources found");
  });
});

describe("names", () => {
  const wrong = (type: string, name: string, inputs: object = {}) =>
    new Account([]).wrongInputs(type, name, { ...inputs });

  it("of load balancers have 32 characters with what is added", () => {
    const type = "aws:lb/loadBalancer:LoadBalancer";
    expect(wrong(type, "kernelyard-entry-balancer")).toEqual([
      '"name" cannot be longer than 32 characters: kernelyard-entry-balancer would have 33',
    ]);
    expect(wrong(type, "kernelyard-entry-lb")).toEqual([]);
  });

  it("of buckets and repositories are lower-case and short", () => {
    const bucket = "aws:s3/bucket:Bucket";
    expect(wrong(bucket, "b", { bucketPrefix: "kernelyard-Prod-access-" })).toHaveLength(1);
    expect(wrong(bucket, "b", { bucketPrefix: "kernelyard-code-interpreter-eu-access-" })).toHaveLength(1);
    expect(
      wrong("aws:ecr/repository:Repository", "r", { name: "kernelyard-my__stack/gateway" }),
    ).toHaveLength(1);
  });
});

it("a key's policy cannot name a role that is not there yet", () => {
  const role = `arn:aws:iam::${ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling`;
  const policy = JSON.stringify({ Statement: [{ Effect: "Allow", Principal: { AWS: role } }] });
  const { account } = accountWith();
  expect(() => account.create("aws:kms/key:Key", "key", { policy })).toThrow(
    /MalformedPolicyDocumentException/,
  );
});

it("a rule is there once, whatever it is called", () => {
  const type = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule";
  const rule = {
    securityGroupId: "g",
    cidrIpv4: "10.0.0.0/16",
    fromPort: 443,
    toPort: 443,
    ipProtocol: "tcp",
  };
  const { account } = accountWith([type, "client-0", rule]);
  expect(() => account.create(type, "client-1", { ...rule, description: "moved" })).toThrow(
    /InvalidPermission.Duplicate/,
  );
});

it("a VPC of somebody else's has endpoints already", () => {
  const { account } = accountWith();
  const endpoint = { vpcId: "vpc-0a", serviceName: "ssm", privateDnsEnabled: true };
  expect(() => account.create("aws:ec2/vpcEndpoint:VpcEndpoint", "ssm", endpoint)).toThrow(
    /conflicting DNS domain/,
  );
});

describe("a group", () => {
  const type = "aws:autoscaling/group:Group";
  const template = [
    "aws:ec2/launchTemplate:LaunchTemplate",
    "template",
    { imageId: "resolve:ssm:/aws/x" },
  ] as const;
  const targets = ["aws:lb/targetGroup:TargetGroup", "targets", { deregistrationDelay: 360 }] as const;
  const hooks = (heartbeatTimeout: number) => [
    { name: "terminate", lifecycleTransition: "autoscaling:EC2_INSTANCE_TERMINATING", heartbeatTimeout },
  ];

  it("is not rolled back when a parameter names its image", () => {
    const { account, all } = accountWith(template);
    const launchTemplate = { id: all[0]?.id, version: "1" };
    const instanceRefresh = { preferences: { autoRollback: true } };
    expect(() => account.create(type, "group", { launchTemplate, instanceRefresh })).toThrow(
      /rollback is not supported/,
    );
  });

  it("keeps the hooks of its creation", () => {
    const { account, all } = accountWith(template, [type, "group", { initialLifecycleHooks: hooks(420) }]);
    expect(() => account.update(all[1]?.id ?? "", { initialLifecycleHooks: hooks(1020) })).toThrow(
      /do not change after creation/,
    );
  });

  it("takes as long to go as its hosts, and the provider waits ten minutes unless it is told", () => {
    const { account, all } = accountWith(targets);
    const targetGroupArns = [all[0]?.outputs.arn];
    const group = account.create(type, "group", { targetGroupArns, initialLifecycleHooks: hooks(420) });
    expect(() => account.delete(group.id, 0)).toThrow(/timeout while waiting \(600 s; it takes 900 s\)/);
    expect(() => account.delete(group.id, 1260)).not.toThrow();
  });
});

describe("directories", () => {
  const type = "aws:elasticache/replicationGroup:ReplicationGroup";
  const fine = {
    replicationGroupId: "kernelyard-prod",
    authToken: "0123456789abcdef",
    transitEncryptionEnabled: true,
    multiAzEnabled: true,
    replicasPerNodeGroup: 1,
    clusterMode: "enabled",
    engineVersion: "9.0",
    durability: "sync",
  };
  const wrong = (change: object) => new Account([]).wrongInputs(type, "d", { ...fine, ...change });

  it("are as ElastiCache takes them", () => {
    expect(wrong({})).toEqual([]);
    expect(wrong({ replicationGroupId: "Kernelyard--Prod" })).toHaveLength(1);
    expect(wrong({ authToken: "short" })).toHaveLength(1);
    expect(wrong({ authToken: "with_an_underscore" })).toHaveLength(1);
    expect(wrong({ transitEncryptionEnabled: false })).toHaveLength(1);
    expect(wrong({ replicasPerNodeGroup: 0 })).toHaveLength(1);
    expect(wrong({ engineVersion: "8.2" })).toHaveLength(1);
  });
});
