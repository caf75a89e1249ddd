/** Runs the stack's program against Pulumi's mocks and records what it registers, with the options. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { z } from "zod";
import type { Target } from "../../../infra/config/schema.ts";
import { ORDER_VARIABLE } from "../../../infra/parts/image-order.ts";
import { kernelyard } from "../../../infra/program.ts";

export const ROOT = join(import.meta.dirname, "../../..");

export interface Recorded {
  readonly type: string;
  readonly name: string;
  readonly provider: string | null;
  readonly custom: boolean;
  readonly inputs: Readonly<Record<string, unknown>>;
}

export interface RecordedOptions {
  readonly parent: string | null;
  readonly protect: boolean;
  readonly ignoreChanges: readonly string[];
  readonly timeouts: pulumi.CustomTimeouts;
}

export interface Graph {
  readonly resources: readonly Recorded[];
  /** By `type name`. */
  readonly options: ReadonlyMap<string, RecordedOptions>;
  readonly outputs: Readonly<Record<string, unknown>>;
}

/** The engine's name for a resource, without `urn:pulumi:STACK::PROJECT::`: the types of its ancestors count. */
export function urnOf(graph: Graph, type: string, name: string): string {
  const types = [type];
  let parent = graph.options.get(`${type} ${name}`)?.parent ?? null;
  while (parent !== null && !parent.startsWith("pulumi:pulumi:Stack ")) {
    types.unshift(parent.split(" ")[0] ?? "");
    parent = graph.options.get(parent)?.parent ?? null;
  }
  return `${types.join("$")}::${name}`;
}

/** What the mocks answer for generated keys: a secret anywhere else in plain sight is found by these words. */
export const SENTINELS = {
  apiKey: "ky_sentinel_api_key",
  registryPassword: "sentinel-registry-password",
  jwtPrivateKeyPem: "-----BEGIN PRIVATE KEY-----\nsentinel-private\n-----END PRIVATE KEY-----\n",
  jwtPublicKeyPem: "-----BEGIN PUBLIC KEY-----\nsentinel-public\n-----END PUBLIC KEY-----\n",
  jwtKid: "kernelyard-sentinel",
};

/** The same, of keys that hosts share. */
export const FLEET_SENTINELS = {
  directoryPassword: "sentinel-directory-password",
  hopKey: "sentinel-hop-key",
};

const SECRET_KEY = "4dabf18193072939515e22adb298388d";

/** A secret input, as the engine sees it. */
export function secretValue(value: unknown): { readonly value: unknown } | null {
  if (typeof value !== "object" || value === null || !(SECRET_KEY in value)) return null;
  return { value: "value" in value ? value.value : undefined };
}

/** Replaces secrets by what they hold. */
export function reveal(value: unknown): unknown {
  const secret = secretValue(value);
  if (secret !== null) return reveal(secret.value);
  if (Array.isArray(value)) return value.map(reveal);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, reveal(inner)]));
  }
  return value;
}

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

const Order = z.object({ name: z.string(), registry: z.unknown() });

/** What a command would print. */
function printed(name: string, inputs: Record<string, unknown>): string {
  if (name === "kernelyard-keys-generated") return JSON.stringify(SENTINELS);
  if (name === "kernelyard-fleet-keys-generated") return JSON.stringify(FLEET_SENTINELS);
  const environment = z.record(z.string(), z.string()).safeParse(reveal(inputs.environment));
  const text = environment.data?.[ORDER_VARIABLE];
  if (text === undefined) return "certificate\n";
  const order = Order.parse(JSON.parse(text));
  return order.registry === null ? DIGEST : `${order.name.replace(/:[^:/]*$/, "")}@${DIGEST}`;
}

/** What a provider would add: the few outputs that other resources use. */
function outputsOf(type: string, name: string, inputs: Record<string, unknown>): Record<string, unknown> {
  const account = "123456789012";
  switch (type) {
    case "command:local:Command":
      return { stdout: printed(name, inputs) };
    case "docker:index/remoteImage:RemoteImage":
      return { imageId: DIGEST, repoDigest: inputs.name };
    case "aws:ecr/repository:Repository":
      return {
        repositoryUrl: `${account}.dkr.ecr.eu-central-1.amazonaws.com/${inputs.name}`,
        registryId: account,
        arn: `arn:aws:ecr:eu-central-1:${account}:repository/${inputs.name}`,
      };
    case "aws:elasticache/replicationGroup:ReplicationGroup":
      return {
        configurationEndpointAddress: `clustercfg.${inputs.replicationGroupId}.mock.cache.amazonaws.com`,
      };
    case "aws:ec2/launchTemplate:LaunchTemplate":
      return { latestVersion: 1 };
    case "aws:secretsmanager/secretVersion:SecretVersion":
      return { versionId: "00000000-0000-4000-8000-000000000001" };
    case "aws:iam/role:Role":
      // Its name is its id.
      return { arn: `arn:aws:mock:::${name}`, name: `${name}-id` };
    default:
      return type.startsWith("aws:") ? { arn: `arn:aws:mock:::${name}`, arnSuffix: `mock/${name}` } : {};
  }
}

function sampleConfig(target: Target): Record<string, string> {
  const file = z
    .object({ config: z.record(z.string(), z.unknown()) })
    .parse(parse(readFileSync(join(ROOT, `infra/samples/Pulumi.${target}.sample.yaml`), "utf8")));
  return Object.fromEntries(
    Object.entries(file.config).map(([key, value]) => [
      key,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  );
}

/** Whoever makes a resource in place of the mocks; null: not its matter. May throw, as a provider does. */
export type Maker = (
  type: string,
  name: string,
  inputs: Readonly<Record<string, unknown>>,
) => { readonly id: string; readonly outputs: Readonly<Record<string, unknown>> } | null;

/** One after another: Pulumi's runtime is one for the whole process. */
export async function recordStack(
  target: Target,
  changes: Readonly<Record<string, string>> = {},
  account: Maker | null = null,
): Promise<Graph> {
  const resources: Recorded[] = [];
  const options = new Map<string, RecordedOptions>();
  await pulumi.runtime.setMocks(
    {
      newResource(args) {
        const inputs = z.record(z.string(), z.unknown()).parse(args.inputs);
        resources.push({
          type: args.type,
          name: args.name,
          provider: args.provider === undefined || args.provider === "" ? null : args.provider,
          custom: args.custom ?? false,
          inputs,
        });
        const made = account?.(args.type, args.name, inputs) ?? {
          id: `${args.name}-id`,
          outputs: outputsOf(args.type, args.name, inputs),
        };
        return { id: made.id, state: { ...inputs, ...made.outputs } };
      },
      call(args) {
        throw new Error(`the program asked ${args.token}, which no test expects`);
      },
    },
    "kernelyard",
    "test",
    false,
  );
  pulumi.runtime.setAllConfig({ ...sampleConfig(target), ...changes });
  const names = new WeakMap<pulumi.Resource, string>();
  const outputs = await pulumi.runtime.runInPulumiStack(async () => {
    pulumi.runtime.registerStackTransformation((args) => {
      const { opts } = args;
      names.set(args.resource, `${args.type} ${args.name}`);
      options.set(`${args.type} ${args.name}`, {
        parent: opts.parent === undefined ? null : (names.get(opts.parent) ?? null),
        protect: opts.protect ?? false,
        ignoreChanges: opts.ignoreChanges ?? [],
        timeouts: "customTimeouts" in opts ? (opts.customTimeouts ?? {}) : {},
      });
      return undefined;
    });
    return kernelyard({
      localProblems: async () => [],
      sshProblem: async () => null,
      lookAtMachine: async () => ({ drift: null, architecture: "x86_64", certificateEnds: false }),
      home: "/home/operator",
      projectRoot: ROOT,
    });
  });
  await pulumi.runtime.disconnect();
  const settled = z.record(z.string(), z.unknown()).parse(outputs);
  return { resources, options, outputs: settled };
}
