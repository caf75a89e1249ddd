/** What holds for the recorded graph of every target. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import type { Target } from "../../../infra/config/schema.ts";
import { brokenPolicies, brokenStackPolicies, POLICIES } from "./check-policies.ts";
import { FLEET_SENTINELS, type Graph, recordStack, reveal, SENTINELS, secretValue, urnOf } from "./record.ts";

/** Types that hold what cannot be made again. */
const DATA_BEARING = /^(aws:kms\/key:Key|aws:s3\/bucket:Bucket|kernelyard-data)$/;
const LONGEST_NAME = 64;

/** From a state that the real engine exported: `exported/`. */
const Exported = z.object({
  resources: z.array(
    z.object({
      urn: z.string(),
      protect: z.boolean().default(false),
      /** Inputs whose change would make the resource anew. */
      identity: z.record(z.string(), z.unknown()).optional(),
    }),
  ),
});

/** Components that came since then. */
const SINCE = /^kernelyard:(services:Tidy|keys:FleetKeys|hosts:Valkey|hosts:Entry|aws:Directory)::/;

function plainText(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (secretValue(inner) === null ? inner : "[secret]"));
}

/** Long texts are snapshots of their own. */
function shortened(value: unknown): unknown {
  if (secretValue(value) !== null) return "[secret]";
  if (typeof value === "string") {
    const text = value.replaceAll(process.cwd(), ".");
    return text.length > 2000 ? `${text.slice(0, 80)}… (${text.length} characters)` : text;
  }
  if (Array.isArray(value)) return value.map(shortened);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shortened(inner)]));
  }
  return value;
}

/** Changes with every edit of the services; the digest's own test is elsewhere. */
const withoutDigests = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value)
      .replace(/:[0-9a-f]{16}(?=\\?")/g, ":CONTENT")
      .replace(/(?<=KERNELYARD_HOST_CONTENT":")[0-9a-f]{16}/g, "CONTENT")
      .replace(/(?<=digest\\":\\")[0-9a-f]{64}/g, "CONTENT"),
  );

/** Changes of the sample, and what they are called. */
export interface Variant {
  readonly name: string;
  readonly changes: Readonly<Record<string, string>>;
}

export function describeTarget(
  target: Target,
  more: (graph: () => Graph) => void,
  variant: Variant | null = null,
): void {
  describe(`target ${target}${variant === null ? "" : `, ${variant.name}`}`, () => {
    let recorded: Graph | null = null;
    const graph = (): Graph => {
      if (recorded === null) throw new Error("not recorded yet");
      return recorded;
    };
    beforeAll(async () => {
      vi.stubEnv("HOME", "/home/operator");
      recorded = await recordStack(target, variant?.changes);
    }, 60_000);

    const options = (type: string, name: string) => graph().options.get(`${type} ${name}`);
    const customs = () => graph().resources.filter((resource) => resource.custom);

    it("registers what it did before", () => {
      const lines = [...graph().resources]
        .map((resource) => {
          const found = options(resource.type, resource.name);
          return {
            resource: `${resource.type} ${resource.name}`,
            parent: found?.parent ?? null,
            ...(found?.protect ? { protect: true } : {}),
            ...(found !== undefined && found.ignoreChanges.length > 0
              ? { ignoreChanges: found.ignoreChanges }
              : {}),
            inputs: withoutDigests(shortened(resource.inputs)),
          };
        })
        .sort((a, b) => (a.resource < b.resource ? -1 : 1));
      expect(lines).toMatchSnapshot();
    });

    it("keeps what a stack holds that was deployed before the rooms: components, keys, what is protected", () => {
      const { resources } = Exported.parse(
        JSON.parse(readFileSync(join(import.meta.dirname, `exported/${target}.json`), "utf8")),
      );
      const now = new Map(
        graph().resources.map((resource) => [urnOf(graph(), resource.type, resource.name), resource]),
      );
      const component = ({ urn }: { urn: string }) => /^kernelyard:[^$]*::/.test(urn);
      const kept = resources.filter((one) => component(one) || one.protect || one.identity !== undefined);
      expect(kept.length).toBeGreaterThan(5);
      expect(kept.filter(({ urn }) => !now.has(urn)).map(({ urn }) => urn)).toEqual([]);
      // A component that nobody knew is one that was renamed.
      const old = new Set(resources.map(({ urn }) => urn));
      const unknown = [...now.keys()].filter((urn) => component({ urn }) && !old.has(urn));
      // Another machine has what the first one has.
      const known = (urn: string) => SINCE.test(urn) || old.has(urn.replaceAll("-box-2", "-box-1"));
      expect(unknown.filter((urn) => !known(urn))).toEqual([]);
      for (const { urn, protect, identity } of kept) {
        const found = now.get(urn);
        if (found === undefined) continue;
        if (protect) expect(options(found.type, found.name)?.protect, urn).toBe(true);
        const inputs = z.record(z.string(), z.unknown()).parse(reveal(found.inputs));
        for (const [name, value] of Object.entries(identity ?? {})) {
          expect(JSON.stringify(inputs[name]).replace("kernelyard-test-", "kernelyard-STACK-"), urn).toBe(
            JSON.stringify(value),
          );
        }
      }
    });

    it("gives every resource an explicit provider", () => {
      const provided = customs().filter((resource) => !resource.type.startsWith("pulumi:providers:"));
      expect(provided.filter((resource) => !/::kernelyard-/.test(resource.provider ?? ""))).toEqual([]);
    });

    it("names children after their parents, within the length that clouds allow", () => {
      for (const resource of graph().resources) {
        if (resource.type === "pulumi:pulumi:Stack") continue;
        expect(resource.name.length).toBeLessThanOrEqual(LONGEST_NAME);
        expect(resource.name).toMatch(/^kernelyard-/);
        const parent = options(resource.type, resource.name)?.parent;
        const parentName = parent?.split(" ")[1] ?? "";
        if (parent?.startsWith("kernelyard:")) expect(resource.name.startsWith(`${parentName}-`)).toBe(true);
      }
    });

    it("spells CPUs as the engine says them back: another spelling is another container at every update", () => {
      const spelt = customs().flatMap(({ inputs }) => (inputs.cpus === undefined ? [] : [inputs.cpus]));
      // Nano-CPUs as a decimal, without the zeros at its end but with one digit behind the point.
      for (const cpus of spelt) expect(cpus).toMatch(/^\d+\.(\d*[1-9]|0)$/);
    });

    it("puts components at the top and resources below them", () => {
      const top = customs()
        .filter((resource) =>
          options(resource.type, resource.name)?.parent?.startsWith("pulumi:pulumi:Stack"),
        )
        .map((resource) => resource.type);
      const allowed = [/^pulumi:providers:/, /^aws:secretsmanager\//];
      expect(top.filter((type) => !allowed.some((pattern) => pattern.test(type)))).toEqual([]);
    });

    it("protects what holds data", () => {
      const holders = customs().filter(
        (resource) =>
          DATA_BEARING.test(resource.type) ||
          /^kernelyard(-[a-z0-9-]+)?-(data-folder|valkey-[a-z0-9-]+-volume)$/.test(resource.name),
      );
      expect(holders.length).toBeGreaterThan(0);
      for (const holder of holders)
        expect(options(holder.type, holder.name)?.protect, holder.name).toBe(true);
    });

    it("shows no secret in plain text", () => {
      const text = graph().resources.map((resource) => `${resource.name} ${plainText(resource.inputs)}`);
      const own = Object.values(FLEET_SENTINELS);
      for (const secret of [SENTINELS.apiKey, SENTINELS.registryPassword, "sentinel-private", ...own]) {
        expect(text.filter((line) => line.includes(secret))).toEqual([]);
        const encoded = Buffer.from(secret).toString("base64").slice(0, 16);
        expect(text.filter((line) => line.includes(encoded))).toEqual([]);
      }
    });

    it("hands over LibreChat's environment, as a secret", () => {
      const environment = graph().outputs.librechatEnvironment;
      expect(environment).toBeDefined();
      expect(String(reveal(environment))).toContain("CODEAPI_JWT_PRIVATE_KEY_BASE64=");
    });

    it("hands over the lines for librechat.yaml, with its own address and no secret", () => {
      const { endpoint, librechatConfiguration, librechatEnvironment } = graph().outputs;
      expect(librechatConfiguration).toContain(`baseURL: ${endpoint}/v1\n`);
      expect(String(reveal(librechatEnvironment))).toContain(
        `LIBRECHAT_CODE_BASEURL_STATEFUL=${endpoint}/v1\n`,
      );
    });

    it("obeys every policy", async () => {
      const subjects = customs().map((resource) => ({
        type: resource.type,
        name: resource.name,
        id: `${resource.name}-id`,
        properties: z.record(z.string(), z.unknown()).parse(reveal(resource.inputs)),
      }));
      const broken = subjects.flatMap((subject) =>
        brokenPolicies(POLICIES, subject).map((one) => `${subject.name}: ${one.name}: ${one.message}`),
      );
      expect(broken).toEqual([]);
      expect(await brokenStackPolicies(POLICIES, subjects)).toEqual([]);
    });

    more(graph);
  });
}
