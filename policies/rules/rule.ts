/** The form of a rule: one constant, with its severity and its reason. */
import type { ResourceValidationPolicy } from "@pulumi/policy";

type Properties = Record<string, unknown>;

export interface RuleSpec {
  readonly name: string;
  readonly severity: "low" | "medium" | "high" | "critical";
  /** What must be so. */
  readonly description: string;
  /** What could happen otherwise. */
  readonly reason: string;
  /** Types of resources, as Pulumi writes them. */
  readonly types: readonly string[];
  /** Each broken point in one sentence; none: the rule holds. */
  readonly violations: (properties: Properties, type: string) => readonly string[];
}

export function rule(spec: RuleSpec): ResourceValidationPolicy {
  return {
    name: spec.name,
    description: `${spec.description} ${spec.reason}`,
    severity: spec.severity,
    enforcementLevel: "mandatory",
    validateResource: (args, report) => {
      if (!spec.types.includes(args.type)) return;
      for (const violation of spec.violations(args.props, args.type)) report(`${violation} ${spec.reason}`);
    },
  };
}

export const isObject = (value: unknown): value is Properties =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const objectOf = (value: unknown): Properties => (isObject(value) ? value : {});
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
export const textsOf = (value: unknown): readonly string[] => listOf(value).map(textOf);

/** A JSON document, as a text or already read. */
export function documentOf(value: unknown): Properties {
  if (isObject(value)) return value;
  try {
    return objectOf(JSON.parse(textOf(value)));
  } catch {
    return {};
  }
}

/** The value of a label of a `docker.Container`. */
export function labelOf(properties: Properties, name: string): string {
  const found = listOf(properties.labels)
    .map(objectOf)
    .find((entry) => entry.label === name);
  return textOf(found?.value);
}
