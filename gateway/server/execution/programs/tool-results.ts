/** What a continuation brings, checked by itself: shape, sizes, duplicates. Whether it was asked for, the program knows. */
import { createHash } from "node:crypto";
import { z } from "@hono/zod-openapi";
import { MAX_RESULT_BYTES, MAX_RESULTS_PER_REQUEST } from "./limits.ts";

const Entry = z.object({
  call_id: z.string(),
  result: z.unknown(),
  is_error: z.boolean().optional(),
  error_message: z.string().optional(),
});

/** One result, as it goes on to the program. */
export interface ToolResult {
  readonly call_id: string;
  /** The result itself as JSON: nobody here looks into it. */
  readonly json: string;
  readonly is_error: boolean;
  readonly error_message?: string | undefined;
}

export interface ReceivedResult extends ToolResult {
  /** Of the whole entry as JSON. */
  readonly bytes: number;
  /** Tells a repeated delivery from a different one. */
  readonly digest: string;
}

export type CheckedResults =
  | { readonly ok: true; readonly results: readonly ReceivedResult[] }
  | { readonly ok: false; readonly error: string };

const CALL_ID = /^call_\d{3,6}$/;
const refuse = (error: string): CheckedResults => ({ ok: false, error });

function checkEntry(value: unknown, at: number): ReceivedResult | string {
  const where = `tool_results[${at}]`;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return `${where} must be an object`;
  if (!Object.hasOwn(value, "result")) return `${where}.result is required`;
  const parsed = Entry.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return `${where}.${issue?.path.join(".") ?? ""} is invalid: ${issue?.message ?? ""}`;
  }
  const { call_id, result, is_error = false, error_message } = parsed.data;
  if (!CALL_ID.test(call_id)) return `${where}.call_id must look like call_001`;
  const json = JSON.stringify(result);
  const rest = JSON.stringify([is_error, error_message ?? null]);
  const bytes = Buffer.byteLength(json) + Buffer.byteLength(rest);
  if (bytes > MAX_RESULT_BYTES) {
    return `${where}.result has ${bytes} bytes; one result may have ${MAX_RESULT_BYTES}`;
  }
  const digest = createHash("sha256").update(json).update(rest).digest("base64");
  return {
    call_id,
    json,
    is_error,
    ...(error_message === undefined ? {} : { error_message }),
    bytes,
    digest,
  };
}

/** What the sandbox reads: an array of `{call_id, result, is_error, error_message?}`, in pieces. */
export function encodeToolResults(results: readonly ToolResult[]): Buffer[] {
  const entries = results.map(({ call_id, json, is_error, error_message }, index) => {
    const more = error_message === undefined ? "" : `,"error_message":${JSON.stringify(error_message)}`;
    const id = JSON.stringify(call_id);
    return Buffer.from(
      `${index === 0 ? "[" : ","}{"call_id":${id},"result":${json},"is_error":${is_error}${more}}`,
    );
  });
  return [...entries, Buffer.from(entries.length === 0 ? "[]" : "]")];
}

export function checkToolResults(value: unknown): CheckedResults {
  if (!Array.isArray(value) || value.length === 0) return refuse("tool_results must be a non-empty array");
  if (value.length > MAX_RESULTS_PER_REQUEST) {
    return refuse(
      `tool_results has ${value.length} entries; one request may have ${MAX_RESULTS_PER_REQUEST}`,
    );
  }
  const entries: readonly unknown[] = value;
  const results: ReceivedResult[] = [];
  const seen = new Set<string>();
  for (const [at, entry] of entries.entries()) {
    const result = checkEntry(entry, at);
    if (typeof result === "string") return refuse(result);
    if (seen.has(result.call_id)) return refuse(`tool_results names ${result.call_id} twice`);
    seen.add(result.call_id);
    results.push(result);
  }
  return { ok: true, results };
}
