import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { parseStackConfig } from "../../../infra/config/parse.ts";
import { StackConfigError } from "../../../infra/config/problems.ts";
import { KEYS, type KeySpec, TARGETS } from "../../../infra/config/schema.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SAMPLES = join(ROOT, "infra/samples");
/** A secret cannot be declared with a default that is empty; Pulumi.yaml mentions it in a comment. */
const specs = Object.values<KeySpec<z.ZodType>>(KEYS).filter((spec) => spec.secret !== true);

const text = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));

function sample(target: string): Map<string, string> {
  const file = z
    .object({ config: z.record(z.string(), z.unknown()) })
    .parse(parse(readFileSync(join(SAMPLES, `Pulumi.${target}.sample.yaml`), "utf8")));
  return new Map(
    Object.entries(file.config).map(([key, value]) => [key.replace(/^kernelyard:/, ""), text(value)]),
  );
}

function problems(values: ReadonlyMap<string, string>, stack = "test"): readonly string[] {
  try {
    parseStackConfig(stack, (key) => values.get(key));
  } catch (error) {
    if (error instanceof StackConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe("Pulumi.yaml", () => {
  const declared = z
    .object({
      config: z.record(
        z.string(),
        z.object({
          type: z.string(),
          description: z.string(),
          default: z.unknown(),
        }),
      ),
    })
    .parse(parse(readFileSync(join(ROOT, "Pulumi.yaml"), "utf8"))).config;

  it("declares exactly the keys that the reader knows", () => {
    expect(Object.keys(declared).sort()).toEqual(specs.map((spec) => spec.name).sort());
  });

  it.each(specs.map((spec) => [spec.name, spec] as const))(
    "%s: type, default and description agree",
    (name, spec) => {
      const found = declared[name];
      expect(found?.type).toBe(spec.type);
      expect(found?.description).toBe(spec.about);
      expect(text(found?.default)).toBe(spec.fallback);
    },
  );
});

describe("samples", () => {
  it("there is one for each target and no other", () => {
    expect(readdirSync(SAMPLES).sort()).toEqual(
      TARGETS.map((target) => `Pulumi.${target}.sample.yaml`).sort(),
    );
  });

  it.each(TARGETS)("%s can be used as it is", (target) => {
    const config = parseStackConfig("test", (key) => sample(target).get(key));
    expect(config.target).toBe(target);
    expect(config).toMatchSnapshot();
  });
});

const CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-4000-8000-000000000000";

it.each([
  ["serviceBaseImage", "gateway/image/Dockerfile"],
  ["serviceBaseImage", "gateway/image/registry/Dockerfile"],
  ["serviceBaseImage", "gateway/image/valkey/Dockerfile"],
  ["serviceBaseImage", "gateway/image/entry/Dockerfile"],
  ["sandboxBaseImage", "sandbox-image/Dockerfile.rce"],
] as const)("%s is what %s is written for", (key, dockerfile) => {
  const [, written] = /^ARG BASE_IMAGE=(\S+)$/m.exec(readFileSync(join(ROOT, dockerfile), "utf8")) ?? [];
  expect(KEYS[key].fallback).toBe(written);
  expect(KEYS[key].remedy).toContain(written);
});

describe("a wrong configuration names the key and the remedy", () => {
  type Row = readonly [target: string, change: Readonly<Record<string, string | null>>, message: string];
  const OPERATOR = { KERNELYARD_OPERATOR_KEY: `sha256:${"0".repeat(64)}` };
  const rows: readonly Row[] = [
    ["local", { target: null }, "kernelyard:target is not set. Remedy: pulumi config set target local"],
    [
      "local",
      { target: "gcp" },
      "kernelyard:target must be local, hosts or aws. Remedy: pulumi config set target local",
    ],
    [
      "local",
      { port: "0" },
      "kernelyard:port must be between 1 and 65535. Remedy: pulumi config set port 3112",
    ],
    ["local", { port: "http" }, "kernelyard:port must be a port number. Remedy: pulumi config set port 3112"],
    [
      "local",
      { registryPort: "3112" },
      "kernelyard:registryPort is the gateway's port (kernelyard:port), 3112. Remedy: pulumi config set registryPort 5000",
    ],
    [
      "local",
      { auth: "none", bindAddress: "0.0.0.0" },
      "kernelyard:auth is none while kernelyard:bindAddress is 0.0.0.0: anybody who reaches it could run code. Remedy: pulumi config set auth api-key,jwt",
    ],
    [
      "hosts",
      { auth: "none" },
      "kernelyard:auth is none while kernelyard:bindAddress is 0.0.0.0: anybody who reaches it could run code. Remedy: pulumi config set auth api-key,jwt",
    ],
    [
      "local",
      { settings: '{"KERNELYARD_MEMROY":"1g"}' },
      "kernelyard:settings (KERNELYARD_MEMROY) is not a setting of gateway or launcher; docs/settings.md lists them. Remedy: see infra/samples/ for the form and docs/settings.md for the names",
    ],
    [
      "local",
      { settings: '{"KERNELYARD_IMAGE":"x"}' },
      "kernelyard:settings (KERNELYARD_IMAGE) is decided by the deployment; remove it here. Remedy: see infra/samples/ for the form and docs/settings.md for the names",
    ],
    [
      "local",
      { settings: '{"KERNELYARD_OPERATOR_KEY":"in-plain-text-0123456789-0123456789"}' },
      "kernelyard:settings (KERNELYARD_OPERATOR_KEY) must be the key's digest, sha256:HEX, for the stack's file is no secret: printf %s KEY | sha256sum. Remedy: see infra/samples/ for the form and docs/settings.md for the names",
    ],
    [
      "local",
      { settings: '{"KERNELYARD_CONSOLE_HOST":"0.0.0.0"}' },
      "kernelyard:settings (KERNELYARD_CONSOLE_HOST) is decided by the deployment; remove it here. Remedy: see infra/samples/ for the form and docs/settings.md for the names",
    ],
    ...(
      [
        ["local", "registryPort", 5000],
        ["hosts", "port", 3112],
        ["aws", "port", 3112],
      ] as const
    ).map(
      ([target, other, port]): Row => [
        target,
        { settings: JSON.stringify({ ...OPERATOR, KERNELYARD_CONSOLE_PORT: String(port) }) },
        `kernelyard:settings (KERNELYARD_CONSOLE_PORT) is ${port}, as kernelyard:${other} is. Remedy: give the console another port in kernelyard:settings, or 0 for none`,
      ],
    ),
    [
      "local",
      { settings: '{"KERNELYARD_PIDS":"8"}' },
      "kernelyard:settings (KERNELYARD_PIDS) must be between 512 and 32768. Remedy: see infra/samples/ for the form and docs/settings.md for the names",
    ],
    [
      "local",
      { settings: "KERNELYARD_PIDS=8" },
      "kernelyard:settings must be a list or map (in the stack file: YAML; with `pulumi config set`: --path). Remedy: see infra/samples/ for the form and docs/settings.md for the names",
    ],
    [
      "local",
      { registryImage: "registry:2" },
      "kernelyard:registryImage must be pinned by digest (NAME@sha256:…). Remedy: leave it empty to build the registry from Debian's package, or give NAME@sha256:…",
    ],
    [
      "local",
      { protectData: "yes" },
      "kernelyard:protectData must be true or false. Remedy: pulumi config set protectData true",
    ],
    [
      "local",
      { region: "eu-central-1" },
      "kernelyard:region belongs to target aws, not local; remove it. Remedy: pulumi config set region eu-central-1",
    ],
    [
      "local",
      { dockerHost: "tcp://10.0.0.1:2375" },
      "kernelyard:dockerHost must be a local engine such as unix:///var/run/docker.sock. Remedy: pulumi config set dockerHost unix:///var/run/docker.sock; for machines by ssh use target hosts",
    ],
    [
      "hosts",
      { hosts: null },
      "kernelyard:hosts names no machine. Remedy: list the machines in the stack file as infra/samples/Pulumi.hosts.sample.yaml shows",
    ],
    [
      "hosts",
      { hosts: '[{"name":"a","address":"h","hostKey":"anything"}]' },
      "kernelyard:hosts (0.hostKey) must be the machine's public key without a comment: `ssh-keyscan -t ed25519 ADDRESS`, compared with /etc/ssh/ssh_host_ed25519_key.pub on its console. Remedy: list the machines in the stack file as infra/samples/Pulumi.hosts.sample.yaml shows",
    ],
    [
      "hosts",
      {
        hosts:
          '[{"name":"a","address":"h1","hostKey":"ssh-ed25519 AAAA"},{"name":"b","address":"h2","hostKey":"ssh-ed25519 AAAA"}]',
      },
      "kernelyard:fileStore names no bucket for 2 machines: files must be where each of them reaches them. Remedy: pulumi config set --path fileStore.bucket NAME, fileStore.endpoint https://… (or fileStore.region for AWS), and pulumi config set --secret fileStoreKey ID:SECRET",
    ],
    [
      "hosts",
      { unroutedSessions: "true" },
      "kernelyard:unroutedSessions is no more. Remedy: pulumi config rm unroutedSessions; several hosts share their sessions now, whichever of them is called",
    ],
    [
      "hosts",
      { fileStore: '{"endpoint":"https://s3.example.org"}' },
      "kernelyard:fileStore (bucket) is not set. Remedy: pulumi config set --path fileStore.bucket NAME, fileStore.endpoint https://… (or fileStore.region for AWS), and pulumi config set --secret fileStoreKey ID:SECRET",
    ],
    [
      "hosts",
      {
        hosts:
          '[{"name":"a","address":"h1","hostKey":"ssh-ed25519 AAAA"},{"name":"b","address":"h2","hostKey":"ssh-ed25519 AAAA"}]',
        fileStore: '{"bucket":"files","region":"eu-central-1"}',
        fleetPort: "5000",
      },
      "kernelyard:fleetPort is the registry's port (kernelyard:registryPort), 5000. Remedy: pulumi config set fleetPort 3114",
    ],
    [
      "hosts",
      {
        hosts:
          '[{"name":"a","address":"h1","hostKey":"ssh-ed25519 AAAA"},{"name":"b","address":"h2","hostKey":"ssh-ed25519 AAAA"}]',
        fileStore: '{"bucket":"files","region":"eu-central-1"}',
        entryPort: "3114",
      },
      "kernelyard:entryPort is the port between machines (kernelyard:fleetPort), 3114. Remedy: pulumi config set entryPort 3110, with several machines, or leave it empty",
    ],
    [
      "hosts",
      {
        hosts:
          '[{"name":"a","address":"h1","hostKey":"ssh-ed25519 AAAA"},{"name":"b","address":"h2","hostKey":"ssh-ed25519 AAAA"}]',
        fileStore: '{"bucket":"files","region":"eu-central-1"}',
        entryPort: "3110",
        bindAddress: "127.0.0.1",
      },
      "kernelyard:bindAddress is 127.0.0.1, where the entry (kernelyard:entryPort) reaches no gateway of another machine. Remedy: pulumi config rm bindAddress, or remove entryPort",
    ],
    [
      "hosts",
      { entryPort: "3110" },
      "kernelyard:entryPort is for several machines. Remedy: pulumi config set entryPort 3110, with several machines, or leave it empty",
    ],
    [
      "hosts",
      { settings: '{"KERNELYARD_FLEET_URL":"redis://x"}' },
      "kernelyard:settings (KERNELYARD_FLEET_URL) is decided by the deployment; remove it here. Remedy: see infra/samples/ for the form and docs/settings.md for the names",
    ],
    ["aws", { region: null }, "kernelyard:region is not set. Remedy: pulumi config set region eu-central-1"],
    [
      "aws",
      { certificateArn: "arn:aws:iam::123456789012:x" },
      "kernelyard:certificateArn must be the ARN of acm. Remedy: issue a certificate in ACM for the name LibreChat will use, then: pulumi config set certificateArn arn:aws:acm:…",
    ],
    [
      "aws",
      { clientCidrs: '["0.0.0.0/0"]' },
      "kernelyard:clientCidrs contains 0.0.0.0/0, the whole internet. Remedy: list the private ranges LibreChat calls from, such as [10.0.0.0/16]",
    ],
    [
      "aws",
      { vpcId: "vpc-0a" },
      "kernelyard:subnetIds needs at least two different subnets when kernelyard:vpcId is set. Remedy: leave vpcId and subnetIds empty to have a VPC made, or give two private subnets in different zones",
    ],
    [
      "aws",
      { vpcId: "vpc-0a", subnetIds: '["subnet-0a","subnet-0b"]', vpcCidr: null },
      "kernelyard:endpoints is true in your own VPC: every machine there will call the AWS APIs through the endpoints, so its range must be let in. Remedy: pulumi config set vpcCidr RANGE-OF-THAT-VPC, or leave endpoints unset when the subnets reach the AWS APIs",
    ],
    [
      "aws",
      { vpcId: "vpc-0a", subnetIds: '["subnet-0a","subnet-0b"]', endpoints: null },
      "kernelyard:vpcCidr says nothing in your own VPC without kernelyard:endpoints true; remove it. Remedy: pulumi config set vpcCidr 10.61.0.0/16",
    ],
    [
      "aws",
      { vpcCidr: "10.61.0.0/24" },
      "kernelyard:vpcCidr is 10.61.0.0/24; a VPC with room for its load balancer and endpoints is a range from /16 to /22. Remedy: pulumi config set vpcCidr 10.61.0.0/16",
    ],
    [
      "aws",
      { vpcCidr: "10.0.0.0/8" },
      "kernelyard:vpcCidr is 10.0.0.0/8; a VPC with room for its load balancer and endpoints is a range from /16 to /22. Remedy: pulumi config set vpcCidr 10.61.0.0/16",
    ],
    [
      "aws",
      { vpcCidr: "10.61.4.1/16" },
      "kernelyard:vpcCidr has 10.61.4.1/16, which is written 10.61.0.0/16. Remedy: pulumi config set vpcCidr 10.61.0.0/16",
    ],
    [
      "aws",
      { clientCidrs: '["10.300.0.0/16"]' },
      "kernelyard:clientCidrs (0) has 10.300.0.0/16, which is no range of IPv4 addresses. Remedy: list the private ranges LibreChat calls from, such as [10.0.0.0/16]",
    ],
    [
      "aws",
      { clientCidrs: '["0.0.0.0/1"]' },
      "kernelyard:clientCidrs contains 0.0.0.0/1, which is wider than any private range. Remedy: list the private ranges LibreChat calls from, such as [10.0.0.0/16]",
    ],
    [
      "aws",
      { clientCidrs: '["10.0.0.0/16","10.0.0.0/16"]' },
      "kernelyard:clientCidrs names a range twice. Remedy: list the private ranges LibreChat calls from, such as [10.0.0.0/16]",
    ],
    [
      "aws",
      { availabilityZones: '["a","a"]' },
      "kernelyard:availabilityZones names a zone twice. Remedy: give at least two letters, such as [a, b]: the load balancer needs two zones",
    ],
    [
      "aws",
      { region: "us-gov-west-1", certificateArn: `${CERTIFICATE.replace("eu-central-1", "us-gov-west-1")}` },
      "kernelyard:region is in a partition of its own (China, GovCloud, sovereign), where this stack does not work. Remedy: pulumi config set region eu-central-1",
    ],
    [
      "aws",
      { certificateArn: CERTIFICATE.replace("arn:aws:", "arn:aws-cn:") },
      "kernelyard:certificateArn must be the ARN of acm. Remedy: issue a certificate in ACM for the name LibreChat will use, then: pulumi config set certificateArn arn:aws:acm:…",
    ],
    [
      "aws",
      { certificateArn: CERTIFICATE.replace("eu-central-1", "us-east-1") },
      "kernelyard:certificateArn is in us-east-1, the stack (kernelyard:region) in eu-central-1. Remedy: issue a certificate in ACM for the name LibreChat will use, then: pulumi config set certificateArn arn:aws:acm:…",
    ],
    [
      "aws",
      {
        instanceType: "m7g.large",
        imageParameter: "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
      },
      "kernelyard:imageParameter is for x86_64, but kernelyard:instanceType m7g.large is aarch64. Remedy: leave it empty for Amazon Linux 2023, or give an image for that CPU",
    ],
    [
      "aws",
      { gvisorUrl: "https://mirror.example/gvisor/aarch64" },
      "kernelyard:gvisorUrl is for aarch64, but kernelyard:instanceType m7i.large is x86_64. Remedy: leave it empty, or name a fixed release or a mirror for that CPU",
    ],
    [
      "aws",
      { imageParameter: "ami-0123456789abcdef0" },
      "kernelyard:rootDevice is not set, and nothing says which disk of ami-0123456789abcdef0 is the one to size and to encrypt. Remedy: aws ec2 describe-images --image-ids AMI --query 'Images[0].RootDeviceName', then: pulumi config set rootDevice /dev/sda1",
    ],
    [
      "aws",
      { port: "3113" },
      "kernelyard:port belongs to target local or hosts, not aws; remove it. Remedy: pulumi config set port 3112",
    ],
    ...(
      [
        ["local", "use target hosts or aws"],
        [
          "hosts",
          "pulumi config set --path fileStore.bucket NAME, fileStore.endpoint https://… (or fileStore.region for AWS), and pulumi config set --secret fileStoreKey ID:SECRET",
        ],
        ["aws", "pulumi config set fileBucket true"],
      ] as const
    ).map(([target, remedy]): [typeof target, Record<string, string>, string] => [
      target,
      {
        settings: '{"KERNELYARD_AUDIT_S3_BUCKET":"audit-logs"}',
        ...(target === "aws" ? { fileBucket: "false" } : {}),
      },
      `kernelyard:settings (KERNELYARD_AUDIT_S3_BUCKET) names a bucket, and the stack's gateways have no credentials of a store. Remedy: ${remedy}, or remove it`,
    ]),
    [
      "aws",
      { settings: '{"KERNELYARD_AUDIT_S3_BUCKET":"kernelyard-prod-files-0123"}', fileBucket: "true" },
      "kernelyard:settings (KERNELYARD_AUDIT_S3_BUCKET) is kernelyard-prod-files-0123, a stack's bucket of files, which keeps nothing for long. Remedy: make a bucket of your own for the audit log",
    ],
    [
      "aws",
      { hostCount: "3", fileBucket: "false" },
      "kernelyard:fileBucket is false with several hosts: files must be where each of them reaches them. Remedy: pulumi config set fileBucket true",
    ],
    [
      "aws",
      { unroutedSessions: "false" },
      "kernelyard:unroutedSessions is no more. Remedy: pulumi config rm unroutedSessions; several hosts share their sessions now, whichever of them is called",
    ],
    [
      "aws",
      { hostCount: "3", hostCountMax: "3" },
      "kernelyard:hostCountMax is 3, no more than kernelyard:hostCount (3). Remedy: pulumi config set hostCountMax 8, or leave it empty for a fixed number of hosts",
    ],
    [
      "aws",
      { hostCount: "3", valkeyDurable: "true" },
      "kernelyard:valkeyDurable is true, which kernelyard:valkeyNodeType cache.t4g.small does not have. Remedy: pulumi config set valkeyDurable true, with a valkeyNodeType of m7g, m6g, r7g or r6g",
    ],
  ];

  it.each(rows)("%s %j", (target, change, message) => {
    const values = sample(target);
    for (const [name, value] of Object.entries(change)) {
      if (value === null) values.delete(name);
      else values.set(name, value);
    }
    expect(problems(values)).toEqual([message]);
  });

  it("reports every problem at once", () => {
    const values = sample("aws");
    values.delete("region");
    values.set("diskGb", "x");
    expect(problems(values)).toHaveLength(2);
  });

  it.each([
    ["local", "Dev", "must be lower-case letters and digits, with single hyphens between them"],
    ["hosts", "my_team", "must be lower-case letters and digits, with single hyphens between them"],
    ["hosts", "team.1", "must be lower-case letters and digits, with single hyphens between them"],
    ["aws", "a-b--c", "must be lower-case letters and digits, with single hyphens between them"],
    ["aws", "code-interpreter-eu", "has 19 characters, 18 fit into the names of what target aws makes"],
    ["local", "x".repeat(41), "has 41 characters, 40 fit into the names of what target local makes"],
  ])("%s: a stack called %s", (target, stack, message) => {
    expect(problems(sample(target), stack)).toEqual([
      `The stack's name ${stack} ${message}. Remedy: pulumi stack rename NAME (or pulumi stack init NAME), and rename its file Pulumi.${stack}.yaml`,
    ]);
  });

  it.each([
    ["aws", "code-interpreter-e"],
    ["local", "a1"],
  ])("%s: a stack called %s is fine", (target, stack) => expect(problems(sample(target), stack)).toEqual([]));
});

describe("what follows from other keys", () => {
  const aws = (changes: Readonly<Record<string, string | null>>) => {
    const values = sample("aws");
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) values.delete(name);
      else values.set(name, value);
    }
    const config = parseStackConfig("test", (key) => values.get(key));
    if (config.target !== "aws") throw new Error("not aws");
    return config;
  };

  it.each([
    ["m7i.large", "linux/amd64", "x86_64", "x86_64"],
    ["g4dn.xlarge", "linux/amd64", "x86_64", "x86_64"],
    ["m7i-flex.large", "linux/amd64", "x86_64", "x86_64"],
    ["u-6tb1.metal", "linux/amd64", "x86_64", "x86_64"],
    ["m7g.large", "linux/arm64", "arm64", "aarch64"],
    ["t4g.medium", "linux/arm64", "arm64", "aarch64"],
    ["c7gn.large", "linux/arm64", "arm64", "aarch64"],
    ["x2gd.large", "linux/arm64", "arm64", "aarch64"],
    ["im4gn.large", "linux/arm64", "arm64", "aarch64"],
    ["g5g.xlarge", "linux/arm64", "arm64", "aarch64"],
    ["a1.large", "linux/arm64", "arm64", "aarch64"],
  ])("%s: platform, machine image and gVisor", (instanceType, platform, amazon, gvisor) => {
    const config = aws({ instanceType });
    expect(config.platform).toBe(platform);
    expect(config.imageParameter).toBe(
      `/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${amazon}`,
    );
    expect(config.gvisorUrl.endsWith(`/${gvisor}`)).toBe(true);
    expect(config.rootDevice).toBe("/dev/xvda");
  });

  it("endpoints are made in a new VPC, in your own only when you ask for them and say who else uses them", () => {
    expect(aws({ endpoints: null }).network).toMatchObject({ kind: "new", endpoints: true });
    const own = { vpcId: "vpc-0a", subnetIds: '["subnet-0a","subnet-0b"]' };
    expect(aws({ ...own, endpoints: null, vpcCidr: null }).network).toMatchObject({ endpointClients: null });
    expect(aws({ ...own, endpoints: "false", vpcCidr: null }).network).toMatchObject({
      endpointClients: null,
    });
    expect(aws({ ...own, vpcCidr: "10.0.0.0/16" }).network).toMatchObject({ endpointClients: "10.0.0.0/16" });
  });
});
