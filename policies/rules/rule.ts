/** The form of a rule: one constant, with its severity and its reason. */
import type { PolicyResource, ResourceValidationPolicy, StackValidationPolicy } from "@pulumi/policy";

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
  /** Each broken point in one sentence; none: the rule holds. `name` is the logical one. */
  readonly violations: (properties: Properties, type: string, name: string) => readonly string[];
}

export function rule(spec: RuleSpec): ResourceValidationPolicy {
  return {
    name: spec.name,
    description: `${spec.description} ${spec.reason}`,
    severity: spec.severity,
    enforcementLevel: "mandatory",
    validateResource: (args, report) => {
      if (!spec.types.includes(args.type)) return;
      for (const violation of spec.violations(args.props, args.type, args.name))
        report(`${violation} ${spec.reason}`);
    },
  };
}

/** What can be told of a resource before it is there: its kind, its name, and whose values its own are made of. */
export type Neighbour = Pick<PolicyResource, "type" | "name" | "urn" | "props" | "propertyDependencies">;

export interface StackRuleSpec extends Omit<RuleSpec, "types" | "violations"> {
  readonly violations: (resources: readonly Neighbour[]) => readonly string[];
}

/** About what resources are to each other. */
export function stackRule(spec: StackRuleSpec): StackValidationPolicy {
  return {
    name: spec.name,
    description: `${spec.description} ${spec.reason}`,
    severity: spec.severity,
    enforcementLevel: "mandatory",
    validateStack: (args, report) => {
      for (const violation of spec.violations(args.resources)) report(`${violation} ${spec.reason}`);
    },
  };
}

/** Whether a property is made of another resource's values. */
export const isMadeOf = (resource: Neighbour, property: string, other: Neighbour): boolean =>
  (resource.propertyDependencies[property] ?? []).some(({ urn }) => urn === other.urn);

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
