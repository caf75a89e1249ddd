/** Rules for what a stack makes in AWS. */
import { documentOf, listOf, objectOf, rule, textOf, textsOf } from "./rule";

const TEMPLATE = ["aws:ec2/launchTemplate:LaunchTemplate"];

/** Wider than any private range: 10.0.0.0/8 and fc00::/7 are the widest. */
function isPublicRange(range: unknown): boolean {
  const [address = "", length] = textOf(range).split("/");
  return length !== undefined && Number(length) < (address.includes(":") ? 7 : 8);
}

export const hostTokensRequired = rule({
  name: "host-tokens-required",
  severity: "critical",
  description: "Hosts' metadata needs a token and is one hop away at most.",
  reason: "A container or a tricked request could take the host's role.",
  types: [...TEMPLATE, "aws:ec2/instance:Instance"],
  violations: (t) => {
    const metadata = objectOf(t.metadataOptions);
    return [
      ...(metadata.httpTokens === "required" ? [] : ["Metadata is served without a token (IMDSv1)."]),
      ...(metadata.httpPutResponseHopLimit === 1 ? [] : ["Tokens reach further than the host (hop limit)."]),
    ];
  },
});

export const hostNoKeyPair = rule({
  name: "host-no-key-pair",
  severity: "high",
  description: "Hosts have no ssh key pair.",
  reason: "Session Manager leaves a trail and needs no open port.",
  types: [...TEMPLATE, "aws:ec2/instance:Instance"],
  violations: (t) => (textOf(t.keyName) === "" ? [] : ["A key pair is named."]),
});

export const hostDisksEncrypted = rule({
  name: "host-disks-encrypted",
  severity: "high",
  description: "Hosts' disks are encrypted.",
  reason: "They hold sessions' files.",
  types: TEMPLATE,
  violations: (t) => {
    const disks = listOf(t.blockDeviceMappings).map((mapping) => objectOf(objectOf(mapping).ebs));
    if (disks.length === 0) return ["The disk is not described."];
    return disks.flatMap((disk) =>
      String(disk.encrypted) === "true" && textOf(disk.kmsKeyId) !== ""
        ? []
        : ["A disk is not encrypted with the stack's key."],
    );
  },
});

export const hostNoPublicAddress = rule({
  name: "host-no-public-address",
  severity: "critical",
  description: "Hosts have no public address.",
  reason: "Only the load balancer talks to them.",
  types: [...TEMPLATE, "aws:ec2/subnet:Subnet"],
  violations: (t) => {
    const interfaces = listOf(t.networkInterfaces).map(objectOf);
    const given = interfaces.some((one) => String(one.associatePublicIpAddress) === "true");
    return given || t.mapPublicIpOnLaunch === true ? ["A public address is given."] : [];
  },
});

export const hostUserDataClean = rule({
  name: "host-user-data-clean",
  severity: "critical",
  description: "User data has at most 16 KB and holds no key.",
  reason: "Everybody with read access to the account, and every process on the host, can read it.",
  types: TEMPLATE,
  violations: (t) => {
    const bytes = Buffer.from(textOf(t.userData), "base64");
    const text = bytes.toString("utf8");
    return [
      ...(bytes.length > 16_384 ? [`User data has ${bytes.length} bytes.`] : []),
      ...(/PRIVATE KEY|ky_[A-Za-z0-9_-]{20,}|KERNELYARD_API_KEYS=|AKIA[A-Z0-9]{16}/.test(text)
        ? ["User data holds a key."]
        : []),
    ];
  },
});

export const noPublicIngress = rule({
  name: "no-public-ingress",
  severity: "critical",
  description: "No security group lets the whole internet in, and nobody reaches ssh.",
  reason: "LibreChat is the only caller.",
  types: [
    "aws:ec2/securityGroupRule:SecurityGroupRule",
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
  ],
  violations: (g, type) => {
    const own = g.type === "ingress" || type.endsWith(":SecurityGroupIngressRule") ? [g] : [];
    return [...own, ...listOf(g.ingress).map(objectOf)].flatMap((one) => {
      const ranges = [...listOf(one.cidrBlocks), ...listOf(one.ipv6CidrBlocks), one.cidrIpv4, one.cidrIpv6];
      const open = ranges.some(isPublicRange);
      const from = typeof one.fromPort === "number" ? one.fromPort : 0;
      const to = typeof one.toPort === "number" ? one.toPort : 65535;
      const every = [one.protocol, one.ipProtocol].some((protocol) => String(protocol) === "-1");
      const ssh = every || (from <= 22 && to >= 22);
      return [...(open ? ["The whole internet is let in."] : []), ...(ssh ? ["Port 22 is let in."] : [])];
    });
  },
});

export const balancerInternal = rule({
  name: "balancer-internal",
  severity: "high",
  description: "The load balancer is internal and drops invalid headers.",
  reason: "Code execution has no business on the internet.",
  types: ["aws:lb/loadBalancer:LoadBalancer"],
  violations: (b) => [
    ...(b.internal === true ? [] : ["The load balancer is public."]),
    ...(b.dropInvalidHeaderFields === true ? [] : ["Invalid headers are passed on."]),
  ],
});

export const listenerTls = rule({
  name: "listener-tls",
  severity: "critical",
  description: "Listeners speak TLS 1.2 or newer.",
  reason: "Tokens and code travel through them.",
  types: ["aws:lb/listener:Listener"],
  violations: (l) =>
    l.protocol === "HTTPS" && /^ELBSecurityPolicy-(TLS13-|FS-1-2-Res)/.test(textOf(l.sslPolicy))
      ? []
      : ["The listener is not HTTPS with a TLS 1.2+ policy."],
});

export const bucketBlocksPublic = rule({
  name: "bucket-blocks-public",
  severity: "critical",
  description: "Buckets block every kind of public access.",
  reason: "One wrong policy would publish them.",
  types: ["aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"],
  violations: (b) =>
    (["blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"] as const)
      .filter((name) => b[name] !== true)
      .map((name) => `${name} is off.`),
});

export const bucketPolicyPrivate = rule({
  name: "bucket-policy-private",
  severity: "critical",
  description: "No bucket policy allows everybody, and TLS is required.",
  reason: "Access logs name sessions.",
  types: ["aws:s3/bucketPolicy:BucketPolicy"],
  violations: (p) => {
    const statements = listOf(documentOf(p.policy).Statement).map(objectOf);
    const all = (principal: unknown) => principal === "*" || objectOf(principal).AWS === "*";
    return [
      ...(statements.some((s) => s.Effect === "Allow" && all(s.Principal)) ? ["Everybody is allowed."] : []),
      ...(statements.some(
        (s) =>
          s.Effect === "Deny" && JSON.stringify(s.Condition ?? {}).includes('"aws:SecureTransport":"false"'),
      )
        ? []
        : ["Plain HTTP is not denied."]),
    ];
  },
});

export const bucketEncrypted = rule({
  name: "bucket-encrypted",
  severity: "high",
  description: "Buckets say how they are encrypted.",
  reason: "It must not depend on an account's defaults.",
  types: ["aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"],
  violations: (b) =>
    listOf(b.rules).some((one) =>
      /^(AES256|aws:kms)/.test(
        textOf(objectOf(objectOf(one).applyServerSideEncryptionByDefault).sseAlgorithm),
      ),
    )
      ? []
      : ["No algorithm is named."],
});

export const logsRetained = rule({
  name: "logs-retained",
  severity: "medium",
  description: "Log groups have an end and are encrypted with the stack's key.",
  reason: "Logs that stay for ever cost, and tell.",
  types: ["aws:cloudwatch/logGroup:LogGroup"],
  violations: (g) => [
    ...(typeof g.retentionInDays === "number" && g.retentionInDays > 0 ? [] : ["Logs stay for ever."]),
    ...(textOf(g.kmsKeyId) === "" ? ["Logs are not encrypted with the stack's key."] : []),
  ],
});

export const repositoryStrict = rule({
  name: "repository-strict",
  severity: "high",
  description: "Image repositories are written once, scanned and encrypted.",
  reason: "What hosts run must be what was built.",
  types: ["aws:ecr/repository:Repository"],
  violations: (r) => [
    ...(/^IMMUTABLE/.test(textOf(r.imageTagMutability)) ? [] : ["Tags can be moved."]),
    ...(objectOf(r.imageScanningConfiguration).scanOnPush === true ? [] : ["Images are not scanned."]),
    ...(listOf(r.encryptionConfigurations).some((one) => objectOf(one).encryptionType === "KMS")
      ? []
      : ["Images are not encrypted with the stack's key."]),
  ],
});

export const keyRotates = rule({
  name: "key-rotates",
  severity: "medium",
  description: "KMS keys rotate.",
  reason: "One lost key must not open everything for ever.",
  types: ["aws:kms/key:Key"],
  violations: (k) => (k.enableKeyRotation === true ? [] : ["The key does not rotate."]),
});

/** A single statement may stand without its list. */
function statementsOf(policy: unknown): readonly unknown[] {
  const { Statement } = documentOf(policy);
  return Array.isArray(Statement) ? Statement : [Statement];
}

/** AWS' own policies that give everything, or everything of a service. */
/** With `AmazonSSMManagedInstanceCore` a host reads every parameter of the account. */
const WIDE_MANAGED =
  /\/(AdministratorAccess|PowerUserAccess|IAMFullAccess|AmazonSSMManagedInstanceCore|\w*FullAccess)\b/;

export const roleNotEverything = rule({
  name: "role-not-everything",
  severity: "critical",
  description: "No role may do everything, or any action of a service on everything.",
  reason: "A host runs hostile code behind its sandboxes.",
  types: [
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/policy:Policy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/policyAttachment:PolicyAttachment",
    "aws:iam/role:Role",
  ],
  violations: (p) => {
    const inline = [p, ...listOf(p.inlinePolicies).map(objectOf)];
    const wide = inline
      .flatMap((one) => statementsOf(one.policy))
      .map(objectOf)
      .filter((s) => s.Effect === "Allow")
      .flatMap((s) => (Array.isArray(s.Action) ? textsOf(s.Action) : [textOf(s.Action)]))
      .filter((action) => /^(\*|[a-z0-9-]+:\*)$/.test(action));
    const attached = [textOf(p.policyArn), ...textsOf(p.managedPolicyArns)].filter((arn) =>
      WIDE_MANAGED.test(arn),
    );
    return [
      ...wide.map((action) => `${action} is allowed.`),
      ...attached.map((arn) => `${arn} is attached.`),
    ];
  },
});

/** With what Pulumi adds to a logical name: a hyphen and seven digits. */
const BALANCER_NAME = { longest: 32, added: 8 };

export const balancerNameFits = rule({
  name: "balancer-name-fits",
  severity: "low",
  description: "Names of load balancers and target groups have at most 32 characters.",
  reason: "AWS refuses longer ones, in the middle of an update.",
  types: ["aws:lb/loadBalancer:LoadBalancer", "aws:lb/targetGroup:TargetGroup"],
  violations: (b, _, name) => {
    const given = textOf(b.name);
    const length = given === "" ? name.length + BALANCER_NAME.added : given.length;
    return length > BALANCER_NAME.longest ? [`The name has ${length} characters.`] : [];
  },
});

export const providerGuarded = rule({
  name: "provider-guarded",
  severity: "high",
  description: "The provider of AWS is held to an account, and asks whose it is.",
  reason: "The wrong credentials would change somebody else's account.",
  types: ["pulumi:providers:aws"],
  violations: (p) => {
    const allowed = Array.isArray(p.allowedAccountIds)
      ? textsOf(p.allowedAccountIds)
      : [textOf(p.allowedAccountIds).replace(/^\[\]$/, "")].filter((text) => text !== "");
    const skips = [p.skipCredentialsValidation, p.skipRequestingAccountId].map(String);
    return [
      ...(allowed.length === 0 ? ["No account is named."] : []),
      ...(skips.every((skip) => skip === "true")
        ? ["It never asks for the account, and would refuse each one."]
        : []),
    ];
  },
});

export const groupReplacesFirst = rule({
  name: "group-replaces-first",
  severity: "medium",
  description: "Hosts are replaced by a numbered template, new ones first.",
  reason: "With $Latest no replacement starts; with less than 100 % healthy, sessions are cut off.",
  types: ["aws:autoscaling/group:Group"],
  violations: (g) => {
    const preferences = objectOf(objectOf(g.instanceRefresh).preferences);
    return [
      ...(/^\$/.test(textOf(objectOf(g.launchTemplate).version))
        ? ["The template's version is not a number."]
        : []),
      ...(preferences.minHealthyPercentage === 100 ? [] : ["Old hosts may go before new ones serve."]),
      ...(listOf(g.initialLifecycleHooks).length >= 2
        ? []
        : ["Hosts neither wait for the canary nor drain."]),
    ];
  },
});

export const directorySecured = rule({
  name: "directory-secured",
  severity: "high",
  description: "The directory of sessions has TLS, a token, encrypted disks, and a copy in another zone.",
  reason: "Whoever may write there decides which host runs a session.",
  types: ["aws:elasticache/replicationGroup:ReplicationGroup"],
  violations: (d) => [
    ...(d.transitEncryptionEnabled === true && d.transitEncryptionMode === "required"
      ? []
      : ["It answers without TLS."]),
    ...(textOf(d.authToken) !== "" || listOf(d.userGroupIds).length > 0 ? [] : ["It asks for no password."]),
    ...(d.atRestEncryptionEnabled === true ? [] : ["Its disks are not encrypted."]),
    ...(d.multiAzEnabled === true && d.automaticFailoverEnabled === true
      ? []
      : ["It is gone with one zone."]),
  ],
});

export const AWS_POLICIES = [
  hostTokensRequired,
  hostNoKeyPair,
  hostDisksEncrypted,
  hostNoPublicAddress,
  hostUserDataClean,
  noPublicIngress,
  balancerInternal,
  listenerTls,
  bucketBlocksPublic,
  bucketPolicyPrivate,
  bucketEncrypted,
  logsRetained,
  repositoryStrict,
  keyRotates,
  roleNotEverything,
  balancerNameFits,
  providerGuarded,
  groupReplacesFirst,
  directorySecured,
];
