/** The body of `POST /exec`: LibreChat's call. */
import { z } from "@hono/zod-openapi";
import { badField, boundedArray, type JsonKind, readBySchema } from "../../bounds/json-reading.ts";
import { FileRef, MAX_FILE_REFS } from "../../execution/files/lineage.ts";

/** What a command line takes on Linux, with the byte that ends each. */
const MAX_ARG_BYTES = 128 * 1024 - 1;
const MAX_ARGS_BYTES = 2 * 1024 * 1024;
const MAX_ARGS = 16_384;
const HINT = /^[A-Za-z0-9._:-]{1,128}$/;

export const ExecRequest = z
  .object({
    lang: z
      .string()
      .min(1)
      .openapi({ description: "`py`, `bash`, or what else the image declares.", example: "py" }),
    code: z.string(),
    args: boundedArray(z.string(), MAX_ARGS)
      .nullish()
      .openapi({ description: "Appended as argv: each up to 128 KiB, together up to 2 MiB." }),
    files: boundedArray(FileRef, MAX_FILE_REFS).nullish().openapi({
      description:
        "Put at `/mnt/data/<name>`; of several with one name the newest stored one, and standard error names the others.",
    }),
    user_id: z.unknown().optional(),
    session_id: z.unknown().optional(),
    runtime_session_hint: z.string().nullish().openapi({
      description: "Same caller, same hint: same live kernel and `/mnt/data`.",
    }),
    timeout: z
      .number()
      .positive()
      .nullish()
      .openapi({ description: "Wall clock in milliseconds; cut to the service's maximum." }),
  })
  .openapi("ExecRequest");

export interface ExecCall {
  readonly language: string;
  readonly code: string;
  readonly args: readonly string[];
  readonly files: readonly FileRef[];
  readonly hint: string | null;
  /** It names a user; nobody trusts the name. */
  readonly ofUser: boolean;
  /** Null: none was asked for. */
  readonly timeoutMs: number | null;
}

/** Throws what names the argument. */
function requireCommandLine(args: readonly string[]): void {
  const sizes = args.map((arg) => Buffer.byteLength(arg));
  const long = sizes.findIndex((size) => size > MAX_ARG_BYTES);
  if (long !== -1) throw badField(`args[${long}]`, `exceeds ${MAX_ARG_BYTES} bytes`);
  if (sizes.reduce((sum, size) => sum + size + 1, 0) > MAX_ARGS_BYTES) {
    throw badField("args", `exceeds ${MAX_ARGS_BYTES} bytes together`);
  }
}

function readExec(value: unknown): ExecCall {
  const body = readBySchema(ExecRequest, value);
  const args = body.args ?? [];
  requireCommandLine(args);
  const hint = body.runtime_session_hint ?? null;
  if (hint !== null && !HINT.test(hint)) {
    throw badField("runtime_session_hint", "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -");
  }
  return {
    language: body.lang,
    code: body.code,
    args,
    files: body.files ?? [],
    hint,
    ofUser: body.user_id !== undefined,
    timeoutMs: body.timeout == null ? null : Math.ceil(body.timeout),
  };
}

/** Whatever else a client puts in is ignored, within bounds: two thousand references with all their fields fit. */
export const EXEC_BODY: JsonKind<ExecCall> = {
  module: import.meta.url,
  name: "EXEC_BODY",
  limits: { bytes: 8 * 1024 * 1024, elements: 40_000, depth: 32 },
  read: readExec,
};
