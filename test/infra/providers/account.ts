/**
 * An AWS account for the recorder: what was made in it, and what AWS (or terraform-provider-aws, which the real provider
 * wraps) refuses. Each refusal says where it was read or seen.
 */
import type { Properties } from "./server.ts";

export const ACCOUNT = "123456789012";
/** What Pulumi adds to a logical name: a hyphen and seven digits. */
const SUFFIX = 8;

export interface Made {
  readonly id: string;
  readonly type: string;
  readonly name: string;
  inputs: Properties;
  outputs: Record<string, unknown>;
}

class Refused extends Error {}
const refuse = (text: string): never => {
  throw new Refused(text);
};

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number => (typeof value === "number" ? value : 0);
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const object = (value: unknown): Properties =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Properties) : {};

/** The longest name, with its suffix, of the types whose names are made from logical ones. */
const LONGEST_NAME: Readonly<Record<string, number>> = {
  // aws_lb, aws_lb_target_group: "name" cannot be longer than 32 characters
  "aws:lb/loadBalancer:LoadBalancer": 32,
  "aws:lb/targetGroup:TargetGroup": 32,
  "aws:iam/role:Role": 64,
  "aws:iam/instanceProfile:InstanceProfile": 128,
  "aws:ec2/launchTemplate:LaunchTemplate": 128,
};
const RULES = [
  "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
  "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
  "aws:ec2/securityGroupRule:SecurityGroupRule",
];
const GROUP = "aws:autoscaling/group:Group";
const DEFAULT_DELETE_SECONDS = 600;
/** An instance's own shutting down, at the least. */
const SHUTDOWN_SECONDS = 120;

/** ElastiCache's own limits (API reference of CreateReplicationGroup; "Durability"). */
function wrongDirectory(inputs: Properties): string[] {
  const token = text(inputs.authToken);
  const durable = text(inputs.durability) === "sync" || text(inputs.durability) === "async";
  return [
    ...(/^[a-z](?!.*--)[a-z0-9-]{0,39}(?<!-)$/.test(text(inputs.replicationGroupId))
      ? []
      : [`replication group id ${text(inputs.replicationGroupId)} is not valid`]),
    ...(token === "" || /^[A-Za-z0-9!&#$^<>-]{16,128}$/.test(token) ? [] : ["the auth token is not valid"]),
    ...(token !== "" && inputs.transitEncryptionEnabled !== true ? ["an auth token needs TLS"] : []),
    ...(inputs.multiAzEnabled === true && number(inputs.replicasPerNodeGroup) < 1
      ? ["several zones need a replica"]
      : []),
    ...(durable && (text(inputs.clusterMode) !== "enabled" || !(Number(text(inputs.engineVersion)) >= 9))
      ? ["durability needs cluster mode and Valkey 9.0"]
      : []),
  ];
}

export class Account {
  readonly made: Made[];
  #count: number;

  constructor(made: Made[]) {
    this.made = made;
    this.#count =
      made.length + made.reduce((most, one) => Math.max(most, Number(one.id.split("-").at(-1)) || 0), 0);
  }

  /** aws-sdk-go-base: credentials are looked for in any case; with both skips no account id is known, and none is allowed. */
  configure(configuration: Properties, env: NodeJS.ProcessEnv): void {
    const allowed =
      text(configuration.allowedAccountIds) || JSON.stringify(list(configuration.allowedAccountIds));
    if (!env.AWS_ACCESS_KEY_ID || !env.AWS_SECRET_ACCESS_KEY) refuse("No valid credential sources found");
    const skips = [configuration.skipCredentialsValidation, configuration.skipRequestingAccountId].map(
      String,
    );
    const id = skips.every((skip) => skip === "true") ? "" : ACCOUNT;
    if (allowed !== "[]" && !allowed.includes(`"${id}"`)) refuse(`AWS account ID not allowed: ${id}`);
  }

  /** Found by the provider's own checks, before AWS is asked; in a preview too. */
  wrongInputs(type: string, name: string, inputs: Properties): string[] {
    const wrong: string[] = [];
    const longest = LONGEST_NAME[type];
    const physical = text(inputs.name) === "" ? name.length + SUFFIX : text(inputs.name).length;
    if (longest !== undefined && physical > longest)
      wrong.push(`"name" cannot be longer than ${longest} characters: ${name} would have ${physical}`);
    if (type === "aws:s3/bucket:Bucket" && !/^[a-z0-9.-]{1,37}$/.test(text(inputs.bucketPrefix)))
      wrong.push(`bucket_prefix ${text(inputs.bucketPrefix)}: at most 37 lower-case characters`);
    if (type === "aws:ecr/repository:Repository" && !/^[a-z0-9]+([._/-][a-z0-9]+)*$/.test(text(inputs.name)))
      wrong.push(`repository name ${text(inputs.name)} is not valid`);
    if (type === "aws:iam/serviceLinkedRole:ServiceLinkedRole") {
      if (text(inputs.customSuffix) === "")
        wrong.push("the unsuffixed role exists where a group was ever made");
      if (`AWSServiceRoleForAutoScaling_${text(inputs.customSuffix)}`.length > 64)
        wrong.push("the service role's name has more than 64 characters");
    }
    if (type === "aws:ec2/vpc:Vpc") {
      const length = Number(text(inputs.cidrBlock).split("/")[1]);
      if (length < 16 || length > 28) wrong.push(`the CIDR ${text(inputs.cidrBlock)} is invalid: /16 to /28`);
    }
    if (type === "aws:lb/targetGroup:TargetGroup") {
      const check = object(inputs.healthCheck);
      if (number(check.timeout) >= number(check.interval))
        wrong.push("health check timeout must be smaller than the interval");
      if (number(check.timeout) > 120 || number(check.unhealthyThreshold) > 10)
        wrong.push("health check values are out of range");
    }
    if (type === "aws:elasticache/replicationGroup:ReplicationGroup") wrong.push(...wrongDirectory(inputs));
    if (type === "aws:ec2/launchTemplate:LaunchTemplate") {
      const bytes = Buffer.from(text(inputs.userData), "base64").length;
      if (bytes > 16_384) wrong.push(`User data is limited to 16384 bytes, not ${bytes}`);
    }
    return wrong;
  }

  create(type: string, name: string, inputs: Properties): Made {
    this.#refuseAtCreation(type, inputs);
    this.#count += 1;
    const id = `${name}-${this.#count}`;
    const made: Made = { id, type, name, inputs, outputs: this.#computed(type, name, inputs, 1) };
    this.made.push(made);
    return made;
  }

  update(id: string, inputs: Properties): Properties {
    const made = this.#find(id);
    this.#refuseUpdate(made, inputs);
    const version = number(made.outputs.latestVersion) + 1;
    made.inputs = inputs;
    made.outputs = this.#computed(made.type, made.name, inputs, version);
    return made.outputs;
  }

  delete(id: string, timeoutSeconds: number): void {
    const made = this.#find(id);
    if (made.type === GROUP) this.#refuseEarlyEnd(made, timeoutSeconds || DEFAULT_DELETE_SECONDS);
    this.made.splice(this.made.indexOf(made), 1);
  }

  #find(id: string): Made {
    return this.made.find((one) => one.id === id) ?? refuse(`${id} does not exist`);
  }

  #refuseAtCreation(type: string, inputs: Properties): void {
    if (RULES.includes(type)) this.#refuseEqualRule(type, inputs);
    if (type === "aws:kms/key:Key")
      this.#refuseUnknownPrincipals("MalformedPolicyDocumentException", inputs.policy);
    if (type === "aws:iam/role:Role")
      this.#refuseUnknownPrincipals("MalformedPolicyDocument", inputs.assumeRolePolicy);
    if (type === "aws:ec2/vpcEndpoint:VpcEndpoint") this.#refuseForeignNames(inputs);
    if (type === GROUP) this.#refuseRollback(inputs);
  }

  /** InvalidPermission.Duplicate, which the provider makes an error (internal/service/ec2/vpc_security_group_rule.go). */
  #refuseEqualRule(type: string, inputs: Properties): void {
    const { description: _, tags: __, ...said } = inputs;
    const same = (one: Made) => {
      const { description: ___, tags: ____, ...other } = one.inputs;
      return one.type === type && JSON.stringify(sorted(other)) === JSON.stringify(sorted(said));
    };
    if (this.made.some(same))
      refuse(`InvalidPermission.Duplicate: the specified rule ${JSON.stringify(said)} already exists`);
  }

  /** KMS and IAM ask whether each principal exists (terraform-aws-modules/terraform-aws-eks #3013). */
  #refuseUnknownPrincipals(error: string, policy: unknown): void {
    const known = new Set(this.made.map((one) => text(one.outputs.arn)));
    for (const statement of list(object(JSON.parse(text(policy))).Statement).map(object)) {
      const principal = text(object(statement.Principal).AWS);
      if (principal !== "" && principal !== `arn:aws:iam::${ACCOUNT}:root` && !known.has(principal))
        refuse(`${error}: Policy contains a statement with one or more invalid principals: ${principal}`);
    }
  }

  /** A VPC that this stack did not make has endpoints already, whose names lead there ("conflicting DNS domain"). */
  #refuseForeignNames(inputs: Properties): void {
    const ours = this.made.some((one) => one.type === "aws:ec2/vpc:Vpc" && one.id === inputs.vpcId);
    if (inputs.privateDnsEnabled === true && !ours)
      refuse(
        `private-dns-enabled cannot be set because there is already a conflicting DNS domain for ${text(inputs.serviceName)} in the VPC ${text(inputs.vpcId)}`,
      );
  }

  /** RefreshPreferences: no rollback for a template whose image a parameter names; none with $Latest at all. */
  #refuseRollback(inputs: Properties): void {
    const preferences = object(object(inputs.instanceRefresh).preferences);
    const template = this.made.find((one) => one.id === object(inputs.launchTemplate).id);
    if (preferences.autoRollback === true && text(template?.inputs.imageId).startsWith("resolve:ssm:"))
      refuse(
        "A rollback is not supported when the launch template uses a Systems Manager parameter instead of an AMI ID",
      );
    if (/^\$/.test(text(object(inputs.launchTemplate).version)))
      refuse("an instance refresh does not start when the version of the launch template stays $Latest");
  }

  #refuseUpdate(made: Made, inputs: Properties): void {
    if (made.type !== GROUP) return;
    this.#refuseRollback(inputs);
    const hooks = (from: Properties) => JSON.stringify(sorted(from.initialLifecycleHooks));
    // AWS would say nothing: they only work at creation (autoscaling_group, initial_lifecycle_hook).
    if (hooks(made.inputs) !== hooks(inputs)) refuse("initial lifecycle hooks do not change after creation");
  }

  /** The target stays "draining" for the whole delay, then the hook, then the instance shuts down. */
  #refuseEarlyEnd(made: Made, timeoutSeconds: number): void {
    const groups = list(made.inputs.targetGroupArns).map(text);
    const delays = this.made
      .filter((one) => groups.includes(text(one.outputs.arn)))
      .map((one) => number(one.inputs.deregistrationDelay));
    const hooks = list(made.inputs.initialLifecycleHooks)
      .map(object)
      .filter((hook) => text(hook.lifecycleTransition).endsWith("TERMINATING"))
      .map((hook) => number(hook.heartbeatTimeout));
    const needed = Math.max(0, ...delays) + Math.max(0, ...hooks) + SHUTDOWN_SECONDS;
    if (timeoutSeconds < needed)
      refuse(
        `waiting for Auto Scaling Group (${made.id}) drain: timeout while waiting (${timeoutSeconds} s; it takes ${needed} s)`,
      );
  }

  /** The computed outputs that the program uses. */
  #computed(type: string, name: string, inputs: Properties, version: number): Record<string, unknown> {
    const short = type.split(":")[1]?.split("/")[0] ?? "";
    const arn = `arn:aws:${short}:eu-central-1:${ACCOUNT}:${name}`;
    switch (type) {
      case "aws:iam/serviceLinkedRole:ServiceLinkedRole":
        return {
          arn: `arn:aws:iam::${ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling_${text(inputs.customSuffix)}`,
        };
      case "aws:ecr/repository:Repository":
        return {
          arn,
          registryId: ACCOUNT,
          repositoryUrl: `${ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/${inputs.name}`,
        };
      case "aws:elasticache/replicationGroup:ReplicationGroup":
        return {
          arn,
          configurationEndpointAddress: `clustercfg.${text(inputs.replicationGroupId)}.abc123.euc1.cache.amazonaws.com`,
        };
      case "aws:ec2/launchTemplate:LaunchTemplate":
        return { arn, latestVersion: version };
      case "aws:secretsmanager/secretVersion:SecretVersion":
        return { arn, versionId: `version-${this.#count}` };
      case "aws:ec2/vpcEndpoint:VpcEndpoint":
        return { arn, prefixListId: "pl-0123456789" };
      case "aws:lb/loadBalancer:LoadBalancer":
        return {
          arn,
          arnSuffix: `app/${name}/1`,
          dnsName: "internal-test.elb.example",
          zoneId: "Z0123456789",
        };
      case "aws:lb/targetGroup:TargetGroup":
        return { arn, arnSuffix: `targetgroup/${name}/1` };
      case "aws:s3/bucket:Bucket":
        return { arn: `arn:aws:s3:::${name}`, bucket: name };
      default:
        return { arn, ...(inputs.name === undefined ? { name } : {}) };
    }
  }
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !key.startsWith("__"))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
