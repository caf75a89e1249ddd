/** The header that asks for a run, and what is too large when it does not fit a frame. */
import { MAX_HEADER_BYTES } from "../../common/protocol/frames.ts";
import type { ExecuteRequest } from "../../common/protocol/messages.ts";
import { DISPLAY_RULES } from "./display-capture.ts";
import type { RunLimits, RunRequest } from "./run.ts";

/** Arguments longer than this as JSON precede the code: a header has 64 KiB for everything. */
const LONG_ARGS_BYTES = 8 * 1024;

function longArgs(args: readonly string[]): Buffer | null {
  const json = Buffer.from(JSON.stringify(args));
  return json.length > LONG_ARGS_BYTES ? json : null;
}

/** What follows the header: the code, after arguments that are too long for it. */
export function executeBody(request: RunRequest): Buffer {
  const code = Buffer.from(request.code);
  const args = longArgs(request.args);
  return args === null ? code : Buffer.concat([args, code]);
}

export function executeRequest(id: string, request: RunRequest, limits: RunLimits): ExecuteRequest {
  const args = longArgs(request.args);
  return {
    msg_type: "execute_request",
    msg_id: id,
    content: {
      language: request.language,
      args: args === null ? request.args : [],
      args_bytes: args?.length,
      code_bytes: Buffer.byteLength(request.code),
      script: request.script,
      timeout_ms: request.timeoutMs,
      stdout_limit: limits.stdout,
      stderr_limit: limits.stderr,
      collect:
        request.outputs === null
          ? undefined
          : { ...limits.collect, inputs: request.inputs.map((input) => input.path) },
      displays: request.onShown === undefined ? undefined : DISPLAY_RULES,
      // Whatever else a client tells of its tools is of no use in there.
      tools: request.tools?.map(({ name }) => ({ name })),
    },
  };
}

const bytesOf = (value: object): number => Buffer.byteLength(JSON.stringify(value));

export function fitsHeader(request: ExecuteRequest): boolean {
  return bytesOf(request) <= MAX_HEADER_BYTES;
}

/** For the caller, who knows these two by their fields. */
export function tooLargeMessage({ content }: ExecuteRequest): string {
  const parts = [
    { what: "The names of `tools`", bytes: bytesOf(content.tools ?? []) },
    { what: "The names of `files`", bytes: bytesOf(content.collect?.inputs ?? []) },
  ];
  const largest = parts.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  return `${largest.what} are too long together: ${largest.bytes} bytes of JSON. Tool names and file names of one call share ${MAX_HEADER_BYTES} bytes; send fewer or shorter ones`;
}
