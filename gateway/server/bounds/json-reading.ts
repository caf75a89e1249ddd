/** From bytes of somebody else's JSON to a value that is ours. The same steps on either thread. */
import { z } from "@hono/zod-openapi";
import { type JsonLimits, Unreadable } from "./json-shape.ts";

/** One kind of JSON text that is accepted from outside. */
export interface JsonKind<T> {
  /** `import.meta.url` of the module that exports it, and its name there: the thread for large texts looks it up. */
  readonly module: string;
  readonly name: string;
  readonly limits: JsonLimits;
  /** Plain data, which a thread can hand to another. Throws `Unreadable`. */
  readonly read: (value: unknown) => T;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** `bytes` have been measured. Throws `Unreadable`. */
export function readJsonText<T>(kind: JsonKind<T>, bytes: Uint8Array): T {
  if (bytes.length === 0) throw new Unreadable("bad_request", "The body is empty; send a JSON object");
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch {
    throw new Unreadable("bad_request", "The body is not JSON");
  }
  return kind.read(value);
}

/** `field` is the sender's name for it: `code`, `files[0].id`. */
export function badField(field: string, problem: string): Unreadable {
  return new Unreadable("bad_request", `\`${field}\` ${problem}`);
}

function fieldName(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === "number" ? `[${part}]` : `${i > 0 ? "." : ""}${String(part)}`))
    .join("");
}

/** Reads by a schema; the error names the first field that is wrong. Throws `Unreadable`. */
export function readBySchema<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue === undefined || issue.path.length === 0) {
    throw new Unreadable("bad_request", "The body must be a JSON object");
  }
  const field = fieldName(issue.path);
  if (issue.code === "invalid_type") {
    const missing = issue.message.endsWith("received undefined");
    throw badField(field, missing ? `is required (${issue.expected})` : `must be of type ${issue.expected}`);
  }
  throw badField(field, issue.message);
}

/** An array whose length is looked at before its elements are: a schema finds one problem in each of them. */
export function boundedArray<T extends z.ZodType>(element: T, most: number) {
  return z
    .array(z.unknown())
    .max(most, {
      error: ({ input }) => `has ${lengthOf(input)} entries; at most ${most} are accepted`,
      abort: true,
    })
    .pipe(z.array(element));
}

const lengthOf = (input: unknown): number => (Array.isArray(input) ? input.length : 0);
