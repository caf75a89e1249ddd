/** Runs policies over resources, as the engine would. */
import { join } from "node:path";
import type {
  PolicyResource,
  ResourceValidationArgs,
  ResourceValidationPolicy,
  StackValidationPolicy,
} from "@pulumi/policy";
import { z } from "zod";

// The pack is CommonJS with its own compiler settings: loaded as a stranger would, checked by `test/infra/policies.test.ts`.
const PACK = join(import.meta.dirname, "../../../policies/rules/index.ts");
const loaded: unknown = await import(PACK);

/** Every rule of the pack. */
export const { POLICIES } = z
  .object({
    POLICIES: z.array(
      z.custom<ResourceValidationPolicy | StackValidationPolicy>(
        (value) =>
          typeof value === "object" &&
          value !== null &&
          ("validateResource" in value || "validateStack" in value),
      ),
    ),
  })
  .parse(loaded);

type Policies = typeof POLICIES;

export interface Subject {
  readonly type: string;
  readonly name?: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

const refuse = (): never => {
  throw new Error("a rule looks at nothing but type, name and properties");
};

interface Broken {
  readonly name: string;
  readonly message: string;
}

const OPTIONS = {
  protect: false,
  ignoreChanges: [],
  aliases: [],
  customTimeouts: { createSeconds: 0, updateSeconds: 0, deleteSeconds: 0 },
  additionalSecretOutputs: [],
};

/** Names of the broken rules about single resources, each with what it reported. */
export function brokenPolicies(policies: Policies, subject: Subject): Broken[] {
  const broken: Broken[] = [];
  const args: ResourceValidationArgs = {
    type: subject.type,
    props: z.record(z.string(), z.unknown()).parse(subject.properties),
    urn: "urn:pulumi:test::test::test::test",
    name: subject.name ?? "test",
    opts: OPTIONS,
    stackTags: new Map(),
    isType: refuse,
    asType: refuse,
    getConfig: refuse,
    notApplicable: refuse,
  };
  for (const policy of policies) {
    if (!("validateResource" in policy)) continue;
    const rules = Array.isArray(policy.validateResource)
      ? policy.validateResource
      : [policy.validateResource];
    for (const check of rules) check?.(args, (message) => broken.push({ name: policy.name, message }));
  }
  return broken;
}

export interface StackSubject extends Subject {
  readonly name: string;
  readonly id: string;
}

/** Names of the broken rules about the whole stack. A property is made of a resource's values when it holds its id. */
export async function brokenStackPolicies(
  policies: Policies,
  subjects: readonly StackSubject[],
): Promise<Broken[]> {
  const broken: Broken[] = [];
  const resources = subjects.map(
    (subject): PolicyResource => ({
      type: subject.type,
      props: z.record(z.string(), z.unknown()).parse(subject.properties),
      urn: `urn:pulumi:test::test::${subject.type}::${subject.name}`,
      name: subject.name,
      opts: OPTIONS,
      dependencies: [],
      propertyDependencies: {},
      isType: refuse,
      asType: refuse,
    }),
  );
  for (const [index, resource] of resources.entries()) {
    for (const [key, value] of Object.entries(subjects[index]?.properties ?? {})) {
      const values = Array.isArray(value) ? value : [value];
      resource.propertyDependencies[key] = resources.filter((_, other) =>
        values.includes(subjects[other]?.id),
      );
    }
  }
  for (const policy of policies) {
    if (!("validateStack" in policy)) continue;
    const args = { resources, stackTags: new Map(), getConfig: refuse, notApplicable: refuse };
    await policy.validateStack(args, (message) => broken.push({ name: policy.name, message }));
  }
  return broken;
}
