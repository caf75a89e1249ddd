/** The bodies of `POST /exec/programmatic`: one that starts a program, and those that bring results. */
import { z } from "@hono/zod-openapi";
import { boundedArray, type JsonKind, readBySchema } from "../../bounds/json-reading.ts";
import { Unreadable } from "../../bounds/json-shape.ts";
import { FileRef, MAX_FILE_REFS } from "../../execution/files/lineage.ts";
import { MAX_REQUEST_BYTES, MAX_TOOLS } from "../../execution/programs/limits.ts";
import { findBashCollision } from "../../execution/programs/tool-names.ts";
import { checkToolResults, type ReceivedResult } from "../../execution/programs/tool-results.ts";

/** The reference's own file in its sandbox. */
const RESERVED_FILE = "_ptc_history.json";
/** Names travel in one frame's header, with those of all files. */
const MAX_TOOL_NAMES_BYTES = 24 * 1024;

const Tool = z.object({
  name: z.string().min(1).max(256),
  description: z.string().nullish(),
  parameters: z.unknown().optional(),
});

export const ProgrammaticStart = z
  .object({
    code: z.string(),
    lang: z.string().nullish().openapi({ description: "`bash`; Python otherwise." }),
    language: z.string().nullish(),
    tools: z.array(Tool),
    timeout: z.number().positive().nullish().openapi({
      description: "Milliseconds of the program's own time; waiting for tools does not count.",
    }),
    files: boundedArray(FileRef, MAX_FILE_REFS).nullish(),
    session_id: z.unknown().optional(),
    runtime_session_hint: z.unknown().optional(),
  })
  .openapi("ProgrammaticStart");

export const ProgrammaticContinuation = z
  .object({
    continuation_token: z.string(),
    tool_results: z.array(
      z.object({
        call_id: z.string(),
        result: z.unknown(),
        is_error: z.boolean().optional(),
        error_message: z.string().optional(),
      }),
    ),
  })
  .openapi("ProgrammaticContinuation");

export type ProgrammaticCall =
  | {
      readonly kind: "start";
      readonly language: "py" | "bash";
      readonly code: string;
      readonly toolNames: readonly string[];
      readonly files: readonly FileRef[];
      /** Null: none was asked for. */
      readonly timeoutMs: number | null;
    }
  | { readonly kind: "continuation"; readonly token: string; readonly results: readonly ReceivedResult[] };

const bad = (text: string) => new Unreadable("bad_request", text, true);

function languageOf({ language, lang }: { language?: unknown; lang?: unknown }): "py" | "bash" {
  const name = language ?? lang ?? "python";
  if (name === "bash") return "bash";
  if (name === "python" || name === "py") return "py";
  const shown = typeof name === "string" ? name.slice(0, 32) : typeof name;
  throw bad(`Unsupported language "${shown}"; supported values are "python" and "bash"`);
}

/** The reference's order and words; the client shows neither, people do read them. */
function readStart(raw: Readonly<Record<string, unknown>>): ProgrammaticCall {
  const language = languageOf(raw);
  if (raw.code === undefined || raw.code === null || raw.code === "") {
    throw bad("Missing required field: code");
  }
  const { tools } = raw;
  if (!Array.isArray(tools) || tools.length === 0) {
    throw bad("Missing required field: tools (must be a non-empty array)");
  }
  if (tools.length > MAX_TOOLS) {
    throw bad(`Too many tools provided (${tools.length}). Maximum is ${MAX_TOOLS}.`);
  }
  const bytes = Buffer.byteLength(JSON.stringify([raw.code, tools, raw.files ?? null]));
  if (bytes > MAX_REQUEST_BYTES) {
    throw new Unreadable(
      "too_large",
      `Request too large: ${bytes} bytes (max ${MAX_REQUEST_BYTES}). Reduce the size of "code", "tools", or "files".`,
      true,
    );
  }
  const start = readBySchema(ProgrammaticStart, raw);
  const toolNames = start.tools.map(({ name }) => name);
  if (Buffer.byteLength(JSON.stringify(toolNames)) > MAX_TOOL_NAMES_BYTES) {
    throw bad(`The names of all tools together exceed ${MAX_TOOL_NAMES_BYTES} bytes`);
  }
  const files = start.files ?? [];
  const reserved = files.find(({ name }) => name.replace(/^(\.?\/)+/, "") === RESERVED_FILE);
  if (reserved !== undefined) throw bad(`files[].name "${RESERVED_FILE}" is reserved and cannot be supplied`);
  const collision = language === "bash" ? findBashCollision(start.tools) : null;
  if (collision !== null) {
    throw bad(
      `Bash tool names "${collision.first}" and "${collision.second}" normalize to the same function identifier "${collision.identifier}"; rename one to avoid collision`,
    );
  }
  const timeoutMs = start.timeout == null ? null : Math.ceil(start.timeout);
  return { kind: "start", language, code: start.code, toolNames, files, timeoutMs };
}

function readContinuation(raw: Readonly<Record<string, unknown>>): ProgrammaticCall {
  const token = raw.continuation_token;
  if (typeof token !== "string" || token === "") throw bad("Invalid continuation_token");
  const checked = checkToolResults(raw.tool_results);
  if (!checked.ok) throw bad(checked.error);
  return { kind: "continuation", token, results: checked.results };
}

function readProgrammatic(value: unknown): ProgrammaticCall {
  const raw = readBySchema(z.looseObject({}), value);
  const continues = raw.continuation_token !== undefined && raw.continuation_token !== null;
  return continues ? readContinuation(raw) : readStart(raw);
}

/** Three of the largest results fit into one request; more of them come in further ones. */
export const PROGRAMMATIC_BODY: JsonKind<ProgrammaticCall> = {
  module: import.meta.url,
  name: "PROGRAMMATIC_BODY",
  limits: { bytes: 16 * 1024 * 1024, elements: 500_000, depth: 128 },
  read: readProgrammatic,
};
