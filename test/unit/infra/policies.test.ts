import { describe, expect, it } from "vitest";
import { CONTAINER_RULES } from "../../../gateway/launcher/spec/container-rules.ts";
import {
  brokenPolicies,
  brokenStackPolicies,
  POLICIES,
  type StackSubject,
  type Subject,
} from "./check-policies.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

const container = (properties: Record<string, unknown>): Subject => ({
  type: "docker:index/container:Container",
  properties,
});

/** A gateway, as the stacks make it. */
const SERVICE = {
  image: `127.0.0.1:5000/kernelyard-dev/gateway@${DIGEST}`,
  readOnly: true,
  capabilities: { drops: ["ALL"], adds: [] },
  securityOpts: ["no-new-privileges:true"],
  memory: 512,
  memorySwap: 512,
  ulimits: [{ name: "core", soft: 0, hard: 0 }],
  logDriver: "json-file",
  logOpts: { "max-size": "10m", "max-file": "5" },
  envs: [`KERNELYARD_API_KEYS=default=${DIGEST}`],
  labels: [{ label: "kernelyard.part", value: "gateway" }],
};
const LAUNCHER = {
  ...SERVICE,
  capabilities: { drops: ["ALL"], adds: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"] },
  networkMode: "none",
  volumes: [{ hostPath: "/var/run/docker.sock", containerPath: "/var/run/docker.sock" }],
  labels: [{ label: "kernelyard.part", value: "launcher" }],
};
const REGISTRY = {
  ...SERVICE,
  ports: [{ internal: 5000, external: 5000, ip: "127.0.0.1" }],
  labels: [{ label: "kernelyard.part", value: "registry" }],
};
const SANDBOX = {
  ...SERVICE,
  image: `127.0.0.1:5000/kernelyard-dev/custom-rce-kernel@${DIGEST}`,
  runtime: "runsc",
  user: "10001:10001",
  securityOpts: ["no-new-privileges", "seccomp={}"],
  networkMode: "none",
  ipcMode: "private",
  tmpfs: { "/tmp": "rw,nosuid,nodev,size=67108864" },
  cpus: "0.5",
  ulimits: [
    { name: "core", soft: 0, hard: 0 },
    { name: "nofile", soft: 4096, hard: 4096 },
  ],
  logDriver: "none",
  rm: true,
  restart: "no",
  envs: [],
  labels: [{ label: "kernelyard.instance", value: "0123456789" }],
};

const of = (type: string, properties: Record<string, unknown>): Subject => ({ type, properties });
const TEMPLATE = of("aws:ec2/launchTemplate:LaunchTemplate", {
  metadataOptions: { httpTokens: "required", httpPutResponseHopLimit: 1 },
  blockDeviceMappings: [{ ebs: { encrypted: "true", kmsKeyId: "arn:aws:kms:eu-central-1:1:key/1" } }],
  userData: Buffer.from("#!/bin/bash\n").toString("base64"),
});
const OLD_RULE = of("aws:ec2/securityGroupRule:SecurityGroupRule", {
  type: "ingress",
  protocol: "tcp",
  fromPort: 443,
  toPort: 443,
  cidrBlocks: ["10.0.0.0/16"],
});
const RULE = of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {
  ipProtocol: "tcp",
  fromPort: 443,
  toPort: 443,
  cidrIpv4: "10.0.0.0/16",
});
const BALANCER = of("aws:lb/loadBalancer:LoadBalancer", { internal: true, dropInvalidHeaderFields: true });
const LISTENER = of("aws:lb/listener:Listener", {
  protocol: "HTTPS",
  sslPolicy: "ELBSecurityPolicy-TLS13-1-2-2021-06",
});
const BLOCK = of("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", {
  blockPublicAcls: true,
  blockPublicPolicy: true,
  ignorePublicAcls: true,
  restrictPublicBuckets: true,
});
const DENY_HTTP = {
  Effect: "Deny",
  Principal: "*",
  Action: "s3:*",
  Resource: "*",
  Condition: { Bool: { "aws:SecureTransport": "false" } },
};
const BUCKET_POLICY = of("aws:s3/bucketPolicy:BucketPolicy", {
  policy: JSON.stringify({ Statement: [DENY_HTTP] }),
});
const BUCKET_ENCRYPTION = of(
  "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
  { rules: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" } }] },
);
const LOG_GROUP = of("aws:cloudwatch/logGroup:LogGroup", { retentionInDays: 30, kmsKeyId: "arn:aws:kms:x" });
const REPOSITORY = of("aws:ecr/repository:Repository", {
  imageTagMutability: "IMMUTABLE",
  imageScanningConfiguration: { scanOnPush: true },
  encryptionConfigurations: [{ encryptionType: "KMS" }],
});
const KEY = of("aws:kms/key:Key", { enableKeyRotation: true });
const ROLE_POLICY = of("aws:iam/rolePolicy:RolePolicy", {
  policy: JSON.stringify({
    Statement: [{ Effect: "Allow", Action: "ecr:BatchGetImage", Resource: "arn:x" }],
  }),
});
const GROUP = of("aws:autoscaling/group:Group", {
  launchTemplate: { version: "3" },
  instanceRefresh: { preferences: { minHealthyPercentage: 100 } },
  initialLifecycleHooks: [{ name: "launch" }, { name: "terminate" }],
});

const PROVIDER = of("pulumi:providers:aws", { allowedAccountIds: '["123456789012"]' });

/** A stack in which each thing has what it needs. */
const STACK: readonly StackSubject[] = [
  ["aws:s3/bucket:Bucket", "files", {}] as const,
  ["aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "block", { bucket: "files-id" }] as const,
  [
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "encryption",
    { bucket: "files-id" },
  ] as const,
  ["aws:s3/bucketPolicy:BucketPolicy", "policy", { bucket: "files-id" }] as const,
  [
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "life",
    { bucket: "files-id" },
  ] as const,
  ["aws:iam/role:Role", "role", {}] as const,
  ["aws:iam/instanceProfile:InstanceProfile", "profile", { role: "role-id" }] as const,
  ["aws:ec2/vpc:Vpc", "vpc", {}] as const,
  [
    "aws:ec2/vpcEndpoint:VpcEndpoint",
    "ecr",
    { vpcId: "vpc-id", privateDnsEnabled: true, securityGroupIds: ["group-id"] },
  ] as const,
  ["aws:ec2/securityGroup:SecurityGroup", "group", {}] as const,
].map(([type, name, properties]) => ({ type, name, id: `${name}-id`, properties }));
/** By rule: the stack without these breaks it. */
const MISSING: Readonly<Record<string, readonly string[]>> = {
  "bucket-guarded": ["block", "encryption", "policy", "life"],
  "host-role-own": ["role"],
  "endpoint-serves-vpc": ["vpc"],
};

const change = (subject: Subject, properties: Record<string, unknown>): Subject => ({
  ...subject,
  properties: { ...subject.properties, ...properties },
});
const service = container(SERVICE);
const sandbox = container(SANDBOX);

/** Per rule one baseline and one mutation of it that breaks the rule. */
const MUTATIONS: Readonly<Record<string, readonly [baseline: Subject, mutation: Record<string, unknown>]>> = {
  "container-not-privileged": [service, { privileged: true }],
  "container-image-by-digest": [service, { image: "gateway:latest" }],
  "container-read-only-root": [service, { readOnly: false }],
  "container-capabilities": [service, { capabilities: { drops: ["ALL"], adds: ["CAP_SYS_ADMIN"] } }],
  "container-no-new-privileges": [service, { securityOpts: [] }],
  "container-confined": [service, { securityOpts: ["no-new-privileges:true", "seccomp=unconfined"] }],
  "container-memory-limit": [service, { memorySwap: -1 }],
  "container-no-core-files": [service, { ulimits: [] }],
  "container-log-bounded": [service, { logOpts: {} }],
  "container-own-namespaces": [service, { pidMode: "host" }],
  "engine-socket-only-launcher": [container(LAUNCHER), { labels: [] }],
  "registry-not-public": [
    container(REGISTRY),
    { ports: [{ internal: 5000, external: 5000, ip: "0.0.0.0" }] },
  ],
  "container-no-plain-keys": [service, { envs: ["KERNELYARD_API_KEYS=default=secret-key"] }],
  "directory-by-tls": [
    container({ ...SERVICE, envs: ["KERNELYARD_FLEET_URL=rediss://kernelyard:secret@10.0.0.11:6379"] }),
    { envs: ["KERNELYARD_FLEET_URL=redis://10.0.0.11:6379"] },
  ],
  "directory-secured": [
    of("aws:elasticache/replicationGroup:ReplicationGroup", {
      transitEncryptionEnabled: true,
      transitEncryptionMode: "required",
      authToken: "0123456789abcdef",
      atRestEncryptionEnabled: true,
      multiAzEnabled: true,
      automaticFailoverEnabled: true,
    }),
    { transitEncryptionMode: "preferred" },
  ],
  "sandbox-isolated-runtime": [sandbox, { runtime: "runc" }],
  "sandbox-image-by-digest": [sandbox, { image: "custom-rce-kernel:latest" }],
  "sandbox-non-root": [sandbox, { user: "0:0" }],
  "sandbox-not-privileged": [sandbox, { privileged: true }],
  "sandbox-no-capabilities": [sandbox, { capabilities: { drops: ["ALL"], adds: ["CAP_CHOWN"] } }],
  "sandbox-no-new-privileges": [sandbox, { securityOpts: ["seccomp={}"] }],
  "sandbox-seccomp": [sandbox, { securityOpts: ["no-new-privileges"] }],
  "sandbox-confined": [sandbox, { securityOpts: ["no-new-privileges", "seccomp={}", "apparmor=unconfined"] }],
  "sandbox-read-only-root": [sandbox, { readOnly: false }],
  "sandbox-no-network": [sandbox, { networkMode: "bridge" }],
  "sandbox-no-ports": [sandbox, { ports: [{ internal: 1 }] }],
  "sandbox-own-ipc": [sandbox, { ipcMode: "shareable" }],
  "sandbox-own-pid": [sandbox, { pidMode: "host" }],
  "sandbox-user-namespace": [sandbox, { usernsMode: "host" }],
  "sandbox-no-devices": [sandbox, { devices: [{ hostPath: "/dev/kvm" }] }],
  "sandbox-no-host-paths": [sandbox, { volumes: [{ hostPath: "/etc" }] }],
  "sandbox-bounded-tmpfs": [sandbox, { tmpfs: { "/tmp": "rw" } }],
  "sandbox-memory": [sandbox, { memorySwap: 1024 }],
  "sandbox-cpu": [sandbox, { cpus: "" }],
  "sandbox-ulimits": [sandbox, { ulimits: [{ name: "core", soft: 0, hard: 0 }] }],
  "sandbox-no-log": [sandbox, { logDriver: "json-file" }],
  "sandbox-ends": [sandbox, { restart: "always" }],
  "sandbox-owned": [sandbox, { labels: [] }],
  "host-tokens-required": [
    TEMPLATE,
    { metadataOptions: { httpTokens: "optional", httpPutResponseHopLimit: 1 } },
  ],
  "host-no-key-pair": [TEMPLATE, { keyName: "me" }],
  "host-disks-encrypted": [TEMPLATE, { blockDeviceMappings: [{ ebs: { encrypted: "false" } }] }],
  "host-no-public-address": [TEMPLATE, { networkInterfaces: [{ associatePublicIpAddress: "true" }] }],
  "host-user-data-clean": [
    TEMPLATE,
    { userData: Buffer.from("-----BEGIN PRIVATE KEY-----").toString("base64") },
  ],
  "no-public-ingress": [RULE, { cidrIpv4: "0.0.0.0/0" }],
  "balancer-internal": [BALANCER, { internal: false }],
  "listener-tls": [LISTENER, { protocol: "HTTP" }],
  "bucket-blocks-public": [BLOCK, { blockPublicPolicy: false }],
  "bucket-policy-private": [
    BUCKET_POLICY,
    {
      policy: JSON.stringify({
        Statement: [DENY_HTTP, { Effect: "Allow", Principal: "*", Action: "s3:GetObject" }],
      }),
    },
  ],
  "bucket-encrypted": [BUCKET_ENCRYPTION, { rules: [] }],
  "logs-retained": [LOG_GROUP, { retentionInDays: undefined }],
  "repository-strict": [REPOSITORY, { imageTagMutability: "MUTABLE" }],
  "balancer-name-fits": [BALANCER, { name: "kernelyard-entry-balancer-1234567" }],
  "provider-guarded": [PROVIDER, { skipCredentialsValidation: "true", skipRequestingAccountId: "true" }],
  "key-rotates": [KEY, { enableKeyRotation: false }],
  "role-not-everything": [
    ROLE_POLICY,
    { policy: JSON.stringify({ Statement: [{ Effect: "Allow", Action: "s3:*", Resource: "*" }] }) },
  ],
  "group-replaces-first": [GROUP, { launchTemplate: { version: "$Latest" } }],
};

describe("policies", () => {
  it("each has a mutation here, a severity and a description", () => {
    const covered = [...Object.keys(MUTATIONS), ...Object.keys(MISSING)];
    expect(covered.sort()).toEqual(POLICIES.map((policy) => policy.name).sort());
    for (const policy of POLICIES) {
      expect(policy.severity, policy.name).toBeDefined();
      expect(policy.description.length, policy.name).toBeGreaterThan(30);
    }
  });

  it.each(Object.entries(MUTATIONS))(
    "%s: holds for the baseline, not for the mutation",
    (name, [base, mutation]) => {
      const ours = POLICIES.filter((policy) => policy.name === name);
      expect(brokenPolicies(ours, base)).toEqual([]);
      const broken = brokenPolicies(ours, change(base, mutation));
      expect(broken.map((one) => one.name)).toContain(name);
    },
  );

  const names = (subject: Subject) => brokenPolicies(POLICIES, subject).map((one) => one.name);

  it("every form of an open door is seen: port 22, half of the internet, the older resources", () => {
    expect(names(RULE)).toEqual([]);
    expect(names(OLD_RULE)).toEqual([]);
    const open = [
      change(RULE, { fromPort: 0, toPort: 1024 }),
      change(RULE, { ipProtocol: "-1", fromPort: undefined, toPort: undefined }),
      change(RULE, { cidrIpv4: "0.0.0.0/1" }),
      change(RULE, { cidrIpv4: undefined, cidrIpv6: "::/0" }),
      change(RULE, { cidrIpv4: undefined, cidrIpv6: "2000::/3" }),
      change(OLD_RULE, { cidrBlocks: ["0.0.0.0/0"] }),
      of("aws:ec2/securityGroup:SecurityGroup", {
        ingress: [{ protocol: "tcp", fromPort: 80, toPort: 80, cidrBlocks: ["128.0.0.0/1"] }],
      }),
    ];
    for (const subject of open)
      expect(names(subject), JSON.stringify(subject)).toEqual(["no-public-ingress"]);
  });

  it("every way to give a role everything is seen", () => {
    const arn = "arn:aws:iam::aws:policy/AdministratorAccess";
    const document = JSON.stringify({ Statement: { Effect: "Allow", Action: ["iam:*"], Resource: "*" } });
    const wide = [
      of("aws:iam/rolePolicyAttachment:RolePolicyAttachment", { policyArn: arn }),
      of("aws:iam/role:Role", { managedPolicyArns: ["arn:aws:iam::aws:policy/AmazonS3FullAccess"] }),
      of("aws:iam/rolePolicyAttachment:RolePolicyAttachment", {
        policyArn: "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
      }),
      of("aws:iam/role:Role", { inlinePolicies: [{ policy: document }] }),
      change(ROLE_POLICY, { policy: document }),
    ];
    for (const subject of wide)
      expect(names(subject), JSON.stringify(subject)).toEqual(["role-not-everything"]);
    const read = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";
    expect(names(of("aws:iam/rolePolicyAttachment:RolePolicyAttachment", { policyArn: read }))).toEqual([]);
  });

  it("user data is measured in bytes, names with what Pulumi adds, and a provider without an account is seen", () => {
    const text = Buffer.from("é".repeat(9000)).toString("base64");
    expect(names(change(TEMPLATE, { userData: text }))).toEqual(["host-user-data-clean"]);
    expect(names({ ...BALANCER, name: "kernelyard-entry-balancer" })).toEqual(["balancer-name-fits"]);
    expect(names(of("pulumi:providers:aws", {}))).toEqual(["provider-guarded"]);
  });

  it.each(Object.entries(MISSING))(
    "%s: holds for a whole stack, not without each part",
    async (name, parts) => {
      expect(await brokenStackPolicies(POLICIES, STACK)).toEqual([]);
      for (const part of parts) {
        const without = STACK.filter((subject) => subject.name !== part);
        expect((await brokenStackPolicies(POLICIES, without)).map((one) => one.name)).toEqual([name]);
      }
    },
  );

  it("endpoints in somebody else's VPC serve it when they let its range in", async () => {
    const range = {
      type: "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
      name: "range",
      id: "range-id",
      properties: { securityGroupId: "group-id", cidrIpv4: "10.0.0.0/16" },
    };
    const foreign = STACK.filter((subject) => subject.name !== "vpc");
    expect(await brokenStackPolicies(POLICIES, [...foreign, range])).toEqual([]);
  });

  it("say of sandboxes what the launcher says of its own", () => {
    // What the Docker provider's container cannot express is the launcher's alone.
    const inexpressible = ["pids", "own-uts"];
    const said = POLICIES.map((policy) => policy.name)
      .filter((name) => name.startsWith("sandbox-"))
      .map((name) => name.replace("sandbox-", ""));
    expect([...said, ...inexpressible].sort()).toEqual(CONTAINER_RULES.map((one) => one.id).sort());
  });
});
