/** What an operator is told about a configuration that cannot be used. Pure. */
import type { z } from "zod";
import type { KeySpec } from "./schema.ts";

/** A mistake of the operator's: printed as it is, without a stack. */
export class StackConfigError extends Error {
  override readonly name = "StackConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The stack's configuration cannot be used:\n${problems.map((line) => `  - ${line}`).join("\n")}`);
    this.problems = problems;
  }
}

/** Reads keys one by one and collects every problem; each names the key and the remedy. */
export class KeyReader {
  readonly #get: (key: string) => string | undefined;
  readonly #problems: string[] = [];

  /** `get` gives a key's raw text (lists and maps as JSON), or undefined. */
  constructor(get: (key: string) => string | undefined) {
    this.#get = get;
  }

  problem(spec: KeySpec<z.ZodType>, text: string, remedy = spec.remedy): void {
    this.general(`kernelyard:${spec.name} ${text}. Remedy: ${remedy}`);
  }

  /** About no key. */
  general(text: string): void {
    this.#problems.push(text);
  }

  /** Of a key that is no more. */
  refuseRemoved(name: string, remedy: string): void {
    const text = this.#get(name);
    if (text !== undefined) this.general(`kernelyard:${name} is no more. Remedy: ${remedy}`);
  }

  get clean(): boolean {
    return this.#problems.length === 0;
  }

  /** Throws when there is any problem. */
  refuse(): void {
    if (!this.clean) throw new StackConfigError(this.#problems);
  }

  /** The operator's own words; undefined: nothing but the default. */
  given(spec: KeySpec<z.ZodType>): string | undefined {
    const text = this.#get(spec.name);
    return text === "" ? undefined : text;
  }

  /** Null: not set, or a problem. */
  read<T>(spec: KeySpec<z.ZodType<T>>): T | null {
    const text = this.given(spec) ?? spec.fallback;
    if (text === "") return null;
    const result = spec.schema.safeParse(text);
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      const where = issue.path.length === 0 ? "" : `(${issue.path.map(String).join(".")}) `;
      this.problem(spec, `${where}${issue.message}`);
    }
    return null;
  }

  /** For keys with a default that the schema accepts: `otherwise` is used only after a problem, and thrown away. */
  value<T>(spec: KeySpec<z.ZodType<T>>, otherwise: T): T {
    return this.read(spec) ?? otherwise;
  }

  required<T>(spec: KeySpec<z.ZodType<T>>, otherwise: T): T {
    const before = this.#problems.length;
    const found = this.read(spec);
    if (found === null && this.#problems.length === before) this.problem(spec, "is not set");
    return found ?? otherwise;
  }
}
