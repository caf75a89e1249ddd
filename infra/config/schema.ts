/**
 * Every key of a stack's configuration: how it is read, its default, and one line for people.
 * `Pulumi.yaml` declares the same keys (a test holds them together); `infra/samples/` shows them in use.
 */
import { z } from "zod";
import { ProfileName } from "../../gateway/common/profiles.ts";
import { SETTINGS } from "../../gateway/common/settings/schema.ts";
import { arn, cidr, count, fileStore, flag, host, json, port, settings } from "./values.ts";

export const TARGETS = ["local", "hosts", "aws"] as const;
export type Target = (typeof TARGETS)[number];

/** One configuration key. `fallback` is what an operator would write; an empty text means: not set. */
export interface KeySpec<T extends z.ZodType> {
  readonly name: string;
  readonly schema: T;
  readonly type: "string" | "integer" | "boolean" | "array" | "object";
  readonly fallback: string;
  readonly targets: readonly Target[];
  /** How to repair a wrong value, as a command or an instruction. */
  readonly remedy: string;
  readonly about: string;
  readonly secret?: true;
}

const key = <T extends z.ZodType>(spec: KeySpec<T>): KeySpec<T> => spec;

export const KEYS = {
  target: key({
    name: "target",
    schema: z.enum(TARGETS, "must be local, hosts or aws"),
    type: "string",
    fallback: "",
    targets: TARGETS,
    remedy: "pulumi config set target local",
    about: "Where it runs: local (this machine's engine), hosts (machines by ssh) or aws.",
  }),
  port: key({
    name: "port",
    schema: port,
    type: "integer",
    fallback: "3112",
    targets: ["local", "hosts"],
    remedy: "pulumi config set port 3112",
    about: "Port of the gateway. In AWS the load balancer listens on 443.",
  }),
  isolation: key({
    name: "isolation",
    schema: z.enum(["runsc", "runc-unsafe"], "must be runsc or runc-unsafe"),
    type: "string",
    fallback: "runsc",
    targets: TARGETS,
    remedy: "pulumi config set isolation runsc",
    about: "runsc is gVisor. runc-unsafe shares the host's kernel with the code: for trusted code only.",
  }),
  auth: key({
    name: "auth",
    schema: SETTINGS.KERNELYARD_AUTH.schema,
    type: "string",
    fallback: "api-key,jwt",
    targets: TARGETS,
    remedy: "pulumi config set auth api-key,jwt",
    about: "How callers prove who they are: api-key, jwt, both, or none for a private network.",
  }),
  apiKeys: key({
    name: "apiKeys",
    schema: SETTINGS.KERNELYARD_API_KEYS.schema,
    type: "string",
    fallback: "",
    targets: TARGETS,
    remedy: "pulumi config set --secret apiKeys TENANT=KEY",
    about: "Further accepted keys beside the generated one: TENANT=KEY, comma separated. A secret.",
    secret: true,
  }),
  keyRotation: key({
    name: "keyRotation",
    schema: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "must be a short word such as a date"),
    type: "string",
    fallback: "1",
    targets: TARGETS,
    remedy: "pulumi config set keyRotation 2026-11",
    about: "Change it to any new word to generate new keys; the old ones stop working at once.",
  }),
  settings: key({
    name: "settings",
    schema: json(settings),
    type: "object",
    fallback: "{}",
    targets: TARGETS,
    remedy: "see infra/samples/ for the form and docs/settings.md for the names",
    about:
      "Further settings of gateway and launcher (KERNELYARD_*), for example memory and CPU of a sandbox.",
  }),
  sandboxContext: key({
    name: "sandboxContext",
    schema: z.string().min(1),
    type: "string",
    fallback: "sandbox-image",
    targets: TARGETS,
    remedy: "pulumi config set sandboxContext sandbox-image",
    about: "Folder with Dockerfile.rce, rce_requirements.txt and the profiles, relative to the project.",
  }),
  profile: key({
    name: "profile",
    schema: ProfileName,
    type: "string",
    fallback: "default",
    targets: TARGETS,
    remedy: "pulumi config set profile analyst",
    about:
      "What the sandboxes have: default (pandas, numpy, scipy, matplotlib), analyst, documents or polyglot; a folder of sandboxContext/profiles.",
  }),
  sandboxBaseImage: key({
    name: "sandboxBaseImage",
    schema: z.string().min(1),
    type: "string",
    fallback: "python:3.11-slim",
    targets: TARGETS,
    remedy: "pulumi config set sandboxBaseImage python:3.11-slim",
    about: "Base of the sandbox image; pin it by digest (NAME@sha256:…) for reproducible builds.",
  }),
  serviceBaseImage: key({
    name: "serviceBaseImage",
    schema: z.string().min(1),
    type: "string",
    fallback: "node:24-bookworm-slim",
    targets: TARGETS,
    remedy: "pulumi config set serviceBaseImage node:24-bookworm-slim",
    about: "Base of the gateway and registry images: a Debian with Node 24 and npm.",
  }),
  protectData: key({
    name: "protectData",
    schema: flag,
    type: "boolean",
    fallback: "true",
    targets: TARGETS,
    remedy: "pulumi config set protectData true",
    about: "Protects what holds data from `pulumi destroy`. To remove it too: set false, up, destroy.",
  }),
  bindAddress: key({
    name: "bindAddress",
    schema: z.string().regex(/^[0-9a-fA-F.:]+$/, "must be an IP address"),
    type: "string",
    fallback: "",
    targets: ["local", "hosts"],
    remedy: "pulumi config set bindAddress 127.0.0.1",
    about:
      "Address the gateway is published on; not set: 127.0.0.1 for local, every address of a machine for hosts. 127.0.0.1 for a proxy with TLS beside it.",
  }),
  dockerHost: key({
    name: "dockerHost",
    schema: z
      .string()
      .regex(/^unix:\/\/\/[^\s]+$/, "must be a local engine such as unix:///var/run/docker.sock"),
    type: "string",
    fallback: "unix:///var/run/docker.sock",
    targets: ["local"],
    remedy: "pulumi config set dockerHost unix:///var/run/docker.sock; for machines by ssh use target hosts",
    about: "The engine of target local.",
  }),
  registryPort: key({
    name: "registryPort",
    schema: port,
    type: "integer",
    fallback: "5000",
    targets: ["local", "hosts"],
    remedy: "pulumi config set registryPort 5000",
    about:
      "Port of the stack's own registry (local: on 127.0.0.1; hosts: on the first machine, TLS and password).",
  }),
  registryImage: key({
    name: "registryImage",
    schema: z.string().regex(/@sha256:[0-9a-f]{64}$/, "must be pinned by digest (NAME@sha256:…)"),
    type: "string",
    fallback: "",
    targets: ["local", "hosts"],
    remedy: "leave it empty to build the registry from Debian's package, or give NAME@sha256:…",
    about: "Registry image to use instead of the one built from Debian's package.",
  }),
  hosts: key({
    name: "hosts",
    schema: json(z.array(host).max(64)),
    type: "array",
    fallback: "[]",
    targets: ["hosts"],
    remedy: "list the machines in the stack file as infra/samples/Pulumi.hosts.sample.yaml shows",
    about:
      "The machines: name, address, port, user, hostKey; privateAddress where the others reach it by another one.",
  }),
  fleetPort: key({
    name: "fleetPort",
    schema: port,
    type: "integer",
    fallback: "3114",
    targets: ["hosts", "aws"],
    remedy: "pulumi config set fleetPort 3114",
    about: "Port by which several hosts hand calls to each other (TLS, signed); for them alone.",
  }),
  valkeyPort: key({
    name: "valkeyPort",
    schema: port,
    type: "integer",
    fallback: "6379",
    targets: ["hosts"],
    remedy: "pulumi config set valkeyPort 6379",
    about: "Port of the directory of several machines, on the first one (TLS, password).",
  }),
  valkeyImage: key({
    name: "valkeyImage",
    schema: z.string().regex(/@sha256:[0-9a-f]{64}$/, "must be pinned by digest (NAME@sha256:…)"),
    type: "string",
    fallback: "",
    targets: ["hosts"],
    remedy:
      "leave it empty to build the directory's image from Debian's package, or give NAME@sha256:… of one made from gateway/image/valkey",
    about: "Image of the directory to use instead of the one built from Debian's package.",
  }),
  entryPort: key({
    name: "entryPort",
    schema: port,
    type: "string",
    fallback: "",
    targets: ["hosts"],
    remedy: "pulumi config set entryPort 3110, with several machines, or leave it empty",
    about:
      "Port of one address for several machines (HAProxy on the first one), which LibreChat is then given; not set: there is none.",
  }),
  entryImage: key({
    name: "entryImage",
    schema: z.string().regex(/@sha256:[0-9a-f]{64}$/, "must be pinned by digest (NAME@sha256:…)"),
    type: "string",
    fallback: "",
    targets: ["hosts"],
    remedy:
      "leave it empty to build the entry's image from Debian's package, or give NAME@sha256:… of one made from gateway/image/entry",
    about: "Image of that entry to use instead of the one built from Debian's package.",
  }),
  fileStore: key({
    name: "fileStore",
    schema: json(fileStore),
    type: "object",
    fallback: "{}",
    targets: ["hosts"],
    remedy:
      "pulumi config set --path fileStore.bucket NAME, fileStore.endpoint https://… (or fileStore.region for AWS), and pulumi config set --secret fileStoreKey ID:SECRET",
    about:
      "A bucket for uploaded and produced files: bucket, endpoint or region, prefix. Several machines need one that all of them reach.",
  }),
  fileStoreKey: key({
    name: "fileStoreKey",
    schema: z.string().regex(/^[^:\s]+:\S+$/, "must be ID:SECRET"),
    type: "string",
    fallback: "",
    targets: ["hosts"],
    remedy: "pulumi config set --secret fileStoreKey ID:SECRET",
    about: "Access key of the bucket: ID:SECRET. A secret.",
    secret: true,
  }),
  sshKeyFile: key({
    name: "sshKeyFile",
    schema: z.string().regex(/^[/~]/, "must be an absolute path"),
    type: "string",
    fallback: "",
    targets: ["hosts"],
    remedy: "pulumi config set sshKeyFile ~/.ssh/id_ed25519, or leave it empty to use the ssh agent",
    about: "Private key for the machines; it is read by ssh alone and never enters the stack's state.",
  }),
  region: key({
    name: "region",
    schema: z
      .string()
      .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, "must be a region such as eu-central-1")
      .refine(
        (region) => !/^(cn|us-gov|us-iso[a-z]*|eu-isoe|eusc)-/.test(region),
        "is in a partition of its own (China, GovCloud, sovereign), where this stack does not work",
      ),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "pulumi config set region eu-central-1",
    about: "AWS region.",
  }),
  availabilityZones: key({
    name: "availabilityZones",
    schema: json(
      z
        .array(z.string().regex(/^[a-z]$/, "must be a zone's letter, such as a"))
        .min(2)
        .max(4),
    ),
    type: "array",
    fallback: '["a","b"]',
    targets: ["aws"],
    remedy: "give at least two letters, such as [a, b]: the load balancer needs two zones",
    about: "Zones of the region, by letter. A load balancer needs two.",
  }),
  vpcId: key({
    name: "vpcId",
    schema: z.string().regex(/^vpc-[0-9a-f]+$/, "must be the id of a VPC"),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "leave vpcId and subnetIds empty to have a VPC made, or give both",
    about: "Your own VPC (with subnetIds) instead of a new one.",
  }),
  subnetIds: key({
    name: "subnetIds",
    schema: json(z.array(z.string().regex(/^subnet-[0-9a-f]+$/, "must be the id of a subnet")).max(4)),
    type: "array",
    fallback: "[]",
    targets: ["aws"],
    remedy:
      "leave vpcId and subnetIds empty to have a VPC made, or give two private subnets in different zones",
    about: "Your own private subnets, in different zones.",
  }),
  vpcCidr: key({
    name: "vpcCidr",
    schema: cidr,
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "pulumi config set vpcCidr 10.61.0.0/16",
    about:
      "Address range of the new VPC (not set: 10.61.0.0/16), one that can be peered with LibreChat's; with vpcId and endpoints, that VPC's.",
  }),
  clientCidrs: key({
    name: "clientCidrs",
    schema: json(z.array(cidr).max(32)),
    type: "array",
    fallback: "[]",
    targets: ["aws"],
    remedy: "list the private ranges LibreChat calls from, such as [10.0.0.0/16]",
    about: "Who may reach the internal load balancer: LibreChat's address ranges.",
  }),
  endpoints: key({
    name: "endpoints",
    schema: flag,
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "pulumi config set endpoints true; false needs your own route to the AWS APIs",
    about:
      "Interface endpoints for the AWS APIs, about 7 USD a month for each of 8 services and zone; not set: true in a new VPC, false in your own.",
  }),
  certificateArn: key({
    name: "certificateArn",
    schema: arn("acm"),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy:
      "issue a certificate in ACM for the name LibreChat will use, then: pulumi config set certificateArn arn:aws:acm:…",
    about: "Certificate of the load balancer.",
  }),
  domainName: key({
    name: "domainName",
    schema: z.string().regex(/^[a-z0-9.-]+\.[a-z]+$/, "must be a DNS name"),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "pulumi config set domainName code.example.org (the certificate's name)",
    about: "The certificate's name, which points to the load balancer; part of the endpoint that is printed.",
  }),
  instanceType: key({
    name: "instanceType",
    schema: z.string().regex(/^[a-z][a-z0-9-]*\.[a-z0-9-]+$/, "must be an instance type such as m7i.large"),
    type: "string",
    fallback: "m7i.large",
    targets: ["aws"],
    remedy: "pulumi config set instanceType m7i.large",
    about:
      "Size of a host. m7i.large (2 CPU, 8 GiB, about 73 USD a month) has room for about 10 sandboxes of 512 MiB.",
  }),
  imageParameter: key({
    name: "imageParameter",
    schema: z
      .string()
      .regex(/^(\/[A-Za-z0-9._-]+)+$|^ami-[0-9a-f]+$/, "must be an SSM parameter's path or an AMI id"),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "leave it empty for Amazon Linux 2023, or give an image for that CPU",
    about:
      "Machine image: an SSM public parameter or an AMI id; not set: Amazon Linux 2023 for the instance type's CPU. Others need systemd, engine and AWS CLI.",
  }),
  rootDevice: key({
    name: "rootDevice",
    schema: z.string().regex(/^\/dev\/[a-z0-9]+$/, "must be a device such as /dev/xvda"),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy:
      "aws ec2 describe-images --image-ids AMI --query 'Images[0].RootDeviceName', then: pulumi config set rootDevice /dev/sda1",
    about:
      "Root device of a machine image of your own, which is sized and encrypted; Amazon Linux' is known.",
  }),
  gvisorUrl: key({
    name: "gvisorUrl",
    schema: z
      .string()
      .regex(/^https?:\/\/[^\s"$`\\]+[^/]$/, "must be the URL of a folder, without a slash at its end"),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "leave it empty, or name a fixed release or a mirror for that CPU",
    about:
      "Folder of gvisor.tar.bz2 and its sha512, read when the image is built; not set: gVisor's release for the instance type's CPU.",
  }),
  hostCount: key({
    name: "hostCount",
    schema: count(1, 64),
    type: "integer",
    fallback: "1",
    targets: ["aws"],
    remedy: "pulumi config set hostCount 1",
    about: "Hosts in the auto scaling group.",
  }),
  hostLifetimeDays: key({
    name: "hostLifetimeDays",
    schema: count(1, 365),
    type: "integer",
    fallback: "30",
    targets: ["aws"],
    remedy: "pulumi config set hostLifetimeDays 30",
    about:
      "A host is replaced by a new one, with the newest machine image, after so many days; the new one comes first.",
  }),
  fileBucket: key({
    name: "fileBucket",
    schema: flag,
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "pulumi config set fileBucket true",
    about:
      "Uploaded and produced files live in a bucket: they outlive a host, and every host serves them; not set: true with several hosts, false with one.",
  }),
  hostCountMax: key({
    name: "hostCountMax",
    schema: count(1, 128),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "pulumi config set hostCountMax 8, or leave it empty for a fixed number of hosts",
    about:
      "Hosts come and go between hostCount and this by memory in use; not set: there are hostCount of them.",
  }),
  valkeyNodeType: key({
    name: "valkeyNodeType",
    schema: z.string().regex(/^cache\.[a-z0-9]+\.[a-z0-9]+$/, "must be a node type such as cache.t4g.small"),
    type: "string",
    fallback: "cache.t4g.small",
    targets: ["aws"],
    remedy: "pulumi config set valkeyNodeType cache.t4g.small",
    about:
      "Size of each of the two nodes (ElastiCache for Valkey) in which several hosts keep who has which session: about 19 USD a month each.",
  }),
  valkeyDurable: key({
    name: "valkeyDurable",
    schema: flag,
    type: "boolean",
    fallback: "false",
    targets: ["aws"],
    remedy: "pulumi config set valkeyDurable true, with a valkeyNodeType of m7g, m6g, r7g or r6g",
    about:
      "Every write is in several zones before it is answered: nothing of the directory is lost with its nodes.",
  }),
  diskGb: key({
    name: "diskGb",
    schema: count(20, 16384),
    type: "integer",
    fallback: "60",
    targets: ["aws"],
    remedy: "pulumi config set diskGb 60",
    about: "Encrypted gp3 volume of a host, in GB: about 0.08 USD a month for each.",
  }),
  logRetentionDays: key({
    name: "logRetentionDays",
    schema: z
      .enum(
        ["1", "3", "5", "7", "14", "30", "60", "90", "120", "150", "180", "365"],
        "must be one of CloudWatch's periods, such as 30",
      )
      .transform(Number),
    type: "integer",
    fallback: "30",
    targets: ["aws"],
    remedy: "pulumi config set logRetentionDays 30",
    about: "How long logs and flow logs stay, in days.",
  }),
  alarmTopicArn: key({
    name: "alarmTopicArn",
    schema: arn("sns"),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "pulumi config set alarmTopicArn arn:aws:sns:…, or leave it empty",
    about: "Where alarms are sent.",
  }),
  accountId: key({
    name: "accountId",
    schema: z.string().regex(/^\d{12}$/, "must be twelve digits"),
    type: "string",
    fallback: "",
    targets: ["aws"],
    remedy: "pulumi config set accountId 123456789012 (aws sts get-caller-identity --query Account)",
    about: "The only account this stack may touch; a guard against the wrong credentials.",
  }),
} as const;

export type KeyName = keyof typeof KEYS;
