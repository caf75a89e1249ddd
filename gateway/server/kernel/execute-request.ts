/** The header that asks for a run, and what is too large when it does not fit a frame. */
import { MAX_HEADER_BYTES } from "../../common/protocol/frames.ts";
import type { ExecuteRequest } from "../../common/protocol/messages.ts";
import type { RunLimits, RunRequest } from "./run.ts";

export function executeRequest(
  id: string,
  request: RunRequest,
  limits: RunLimits,
  codeBytes: number,
): ExecuteRequest {
  return {
    msg_type: "execute_request",
    msg_id: id,
    content: {
      language: request.language,
      args: request.args,
      code_bytes: codeBytes,
      timeout_ms: request.timeoutMs,
      stdout_limit: limits.stdout,
      stderr_limit: limits.stderr,
      collect:
        request.outputs === null
          ? undefined
          : { ...limits.collect, inputs: request.inputs.map((input) => input.path) },
      // Whatever else a client tells of its tools is of no use in there.
      tools: request.tools?.map(({ name }) => ({ name })),
    },
  };
}

const bytesOf = (value: object): number => Buffer.byteLength(JSON.stringify(value));

export function fitsHeader(request: ExecuteRequest): boolean {
  return bytesOf(request) <= MAX_HEADER_BYTES;
}

/** For the caller, who knows these three by their fields. */
export function tooLargeMessage({ content }: ExecuteRequest): string {
  const parts = [
    { what: "`args`", bytes: bytesOf(content.args) },
    { what: "The names of `tools`", bytes: bytesOf(content.tools ?? []) },
    { what: "The names of `files`", bytes: bytesOf(content.collect?.inputs ?? []) },
  ];
  const largest = parts.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  return `${largest.what} are too long together: ${largest.bytes} bytes of JSON. Arguments, tool names and file names of one call share ${MAX_HEADER_BYTES} bytes; send fewer or shorter ones`;
}
