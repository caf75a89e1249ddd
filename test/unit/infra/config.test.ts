import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { parseStackConfig, StackConfigError } from "../../../infra/config/parse.ts";
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

function problems(values: ReadonlyMap<string, string>): readonly string[] {
  try {
    parseStackConfig((key) => values.get(key));
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
    const config = parseStackConfig((key) => sample(target).get(key));
    expect(config.target).toBe(target);
    expect(config).toMatchSnapshot();
  });
});

describe("a wrong configuration names the key and the remedy", () => {
  type Row = readonly [target: string, change: Readonly<Record<string, string | null>>, message: string];
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
      "kernelyard:auth is none, and the gateway listens on all addresses of its host: anybody could run code. Remedy: pulumi config set auth api-key,jwt",
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
      "kernelyard:unroutedSessions is false with 2 hosts: a session lives on the host its first call reached, and nothing routes later calls there. Use one host, one stack for each group of users, or accept it. Remedy: pulumi config set unroutedSessions true",
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
      "kernelyard:subnetIds needs at least two subnets when kernelyard:vpcId is set. Remedy: leave vpcId and subnetIds empty to have a VPC made, or give two private subnets in different zones",
    ],
    [
      "aws",
      { hostCount: "3" },
      "kernelyard:unroutedSessions is false with 3 hosts: a session lives on the host its first call reached, and nothing routes later calls there. Use one host, one stack for each group of users, or accept it. Remedy: pulumi config set unroutedSessions true",
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
    values.set("port", "x");
    expect(problems(values)).toHaveLength(2);
  });
});
