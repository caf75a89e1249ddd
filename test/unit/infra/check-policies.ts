/** Runs policies over one resource, as the engine would. */
import { join } from "node:path";
import type { ResourceValidationArgs, ResourceValidationPolicy } from "@pulumi/policy";
import { z } from "zod";

// The pack is CommonJS with its own compiler settings: loaded as a stranger would, checked by `test/infra/policies.test.ts`.
const PACK = join(import.meta.dirname, "../../../policies/rules/index.ts");
const loaded: unknown = await import(PACK);

/** Every rule of the pack. */
export const { POLICIES } = z
  .object({
    POLICIES: z.array(
      z.custom<ResourceValidationPolicy>(
        (value) => typeof value === "object" && value !== null && "validateResource" in value,
      ),
    ),
  })
  .parse(loaded);

export interface Subject {
  readonly type: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

const refuse = (): never => {
  throw new Error("a rule looks at nothing but type and properties");
};

/** Names of the broken rules, each with what it reported. */
export function brokenPolicies(
  policies: readonly ResourceValidationPolicy[],
  subject: Subject,
): { readonly name: string; readonly message: string }[] {
  const broken: { name: string; message: string }[] = [];
  const args: ResourceValidationArgs = {
    type: subject.type,
    props: z.record(z.string(), z.unknown()).parse(subject.properties),
    urn: "urn:pulumi:test::test::test::test",
    name: "test",
    opts: {
      protect: false,
      ignoreChanges: [],
      aliases: [],
      customTimeouts: { createSeconds: 0, updateSeconds: 0, deleteSeconds: 0 },
      additionalSecretOutputs: [],
    },
    stackTags: new Map(),
    isType: refuse,
    asType: refuse,
    getConfig: refuse,
    notApplicable: refuse,
  };
  for (const policy of policies) {
    const rules = Array.isArray(policy.validateResource)
      ? policy.validateResource
      : [policy.validateResource];
    for (const check of rules) check?.(args, (message) => broken.push({ name: policy.name, message }));
  }
  return broken;
}
