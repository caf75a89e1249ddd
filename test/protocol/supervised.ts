import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { encodeFrame, FrameDecoder, MAX_BODY_BYTES } from "../../gateway/common/protocol/frames.ts";
import {
  type CollectRules,
  type DisplayRules,
  parseSandboxMessage,
  type SandboxMessage,
  type ToolDeclaration,
} from "../../gateway/common/protocol/messages.ts";
import { ensureVenv } from "../../sandbox-image/tools/venv.ts";
import type { SandboxPrograms } from "./sandbox-programs.ts";

const SUPERVISOR = join(import.meta.dirname, "../../sandbox-image/supervisor");
const ROOM = 64 * 1024;

export const python = await ensureVenv(() => undefined);

type Reply = Extract<SandboxMessage, { msg_type: "execute_reply" }>["content"];
export type Received = { message: SandboxMessage; body: Buffer };
export interface ToolCall {
  id: string;
  name: string;
  input: unknown;
}
export interface ToolResult {
  call_id: string;
  result: unknown;
  is_error: boolean;
  error_message?: string;
}

export interface Outcome {
  readonly reply: Reply;
  readonly stdout: string;
  readonly stderr: string;
  readonly files: ReadonlyMap<string, { change: string; bytes: Buffer; aborted: boolean }>;
  readonly batches: readonly (readonly ToolCall[])[];
}

export interface RunOptions {
  language?: string;
  args?: readonly string[];
  timeoutMs?: number;
  stdoutLimit?: number;
  stderrLimit?: number;
  collect?: Partial<CollectRules> | false;
  script?: boolean;
  tools?: readonly ToolDeclaration[];
  answer?: (calls: readonly ToolCall[]) => readonly ToolResult[] | Promise<readonly ToolResult[]>;
  onStream?: (text: string) => void;
  displays?: DisplayRules;
  onDisplay?: (path: string, bytes: Buffer) => void;
}

export const RULES: CollectRules = {
  inputs: [],
  max_files: 50,
  max_file_bytes: 200 * 1024 * 1024,
  max_total_bytes: 400 * 1024 * 1024,
  max_depth: 10,
  max_path_bytes: 256,
};

/** The other end of a supervisor's channel, wherever the supervisor runs. */
export class Conversation {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly exited: Promise<number | null>;
  diagnostics = "";
  readonly #received: Received[] = [];
  #wake: (() => void) | null = null;
  #ended = false;
  #ids = 0;

  constructor(supervisor: ChildProcessByStdio<Writable, Readable, Readable>) {
    this.process = supervisor;
    const decoder = new FrameDecoder();
    this.process.stdout.on("data", (chunk: Buffer) => {
      for (const frame of decoder.push(chunk)) {
        const message = parseSandboxMessage(frame.header);
        if (message === null) throw new Error(`not a message: ${frame.header.toString().slice(0, 500)}`);
        this.#received.push({ message, body: Buffer.from(frame.body) });
      }
      this.#wake?.();
    });
    this.process.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.diagnostics += text;
    });
    this.process.stdin.on("error", () => undefined);
    this.exited = new Promise((resolve) => {
      this.process.on("close", (code) => {
        this.#ended = true;
        this.#wake?.();
        resolve(code);
      });
    });
  }

  send(header: object, body?: Uint8Array): void {
    this.process.stdin.write(encodeFrame(header, body));
  }

  async next(): Promise<Received> {
    for (;;) {
      const received = this.#received.shift();
      if (received !== undefined) return received;
      if (this.#ended) throw new Error(`the supervisor ended: ${this.diagnostics}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }

  id(): string {
    this.#ids += 1;
    return `message-${this.#ids}`;
  }

  async hello(): Promise<Extract<SandboxMessage, { msg_type: "hello_reply" }>["content"]> {
    const id = this.id();
    this.send({ msg_type: "hello_request", msg_id: id, content: { nonce: `n-${id}` } });
    const { message } = await this.next();
    if (message.msg_type !== "hello_reply") throw new Error(`expected hello_reply, got ${message.msg_type}`);
    if (message.content.nonce !== `n-${id}`) throw new Error("another nonce came back");
    return message.content;
  }

  /** Sends the request alone; `finish` reads up to its reply. */
  begin(code: string | Uint8Array, options: RunOptions = {}): string {
    const id = this.id();
    const text = Buffer.from(code);
    const given = Buffer.from(JSON.stringify(options.args ?? []));
    // As the gateway does it: what is too long for a header precedes the code.
    const long = given.length > 16_384;
    const bytes = long ? Buffer.concat([given, text]) : text;
    const collect = options.collect === false ? undefined : { ...RULES, ...options.collect };
    this.send(
      {
        msg_type: "execute_request",
        msg_id: id,
        content: {
          language: options.language ?? "py",
          args: long ? [] : (options.args ?? []),
          ...(long ? { args_bytes: given.length } : {}),
          code_bytes: text.length,
          timeout_ms: options.timeoutMs ?? 20_000,
          stdout_limit: options.stdoutLimit ?? ROOM,
          stderr_limit: options.stderrLimit ?? ROOM,
          collect,
          displays: options.displays,
          script: options.script,
          tools: options.tools,
        },
      },
      bytes.subarray(0, MAX_BODY_BYTES),
    );
    this.#chunks(id, bytes.subarray(MAX_BODY_BYTES));
    return id;
  }

  async finish(id: string, options: RunOptions = {}): Promise<Outcome> {
    const streams = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    const files = new Map<string, { change: string; bytes: Buffer; aborted: boolean }>();
    const batches: ToolCall[][] = [];
    const open = new Map<string, { path: string; change: string; parts: Buffer[]; size: number }>();
    for (;;) {
      const { message, body } = await this.next();
      if (message.msg_type === "stream") {
        streams[message.content.name].push(body);
        options.onStream?.(body.toString());
      } else if (message.msg_type === "display_data") {
        if (options.displays === undefined) throw new Error("display_data that was not asked for");
        options.onDisplay?.(message.content.path, body);
      } else if (message.msg_type === "file_output") {
        const { path, change, size } = message.content;
        open.set(message.msg_id, { path, change, parts: [], size });
      } else if (message.msg_type === "chunk") {
        const file = open.get(message.parent_id);
        if (file === undefined) throw new Error(`chunk of nothing: ${message.parent_id}`);
        file.parts.push(body);
        if (message.content?.last === true || message.content?.aborted === true) {
          const aborted = message.content.aborted === true;
          const bytes = Buffer.concat(file.parts);
          if (!aborted && bytes.length !== file.size)
            throw new Error(`${file.path}: ${bytes.length} of ${file.size}`);
          files.set(file.path, { change: file.change, bytes, aborted });
          open.delete(message.parent_id);
        }
      } else if (message.msg_type === "tool_call_request") {
        const parts = [body];
        for (let left = message.content.calls_bytes - body.length; left > 0; ) {
          const more = await this.next();
          if (more.message.msg_type !== "chunk" || more.message.parent_id !== message.msg_id) {
            throw new Error(`${more.message.msg_type} within tool calls`);
          }
          parts.push(more.body);
          left -= more.body.length;
        }
        const calls = JSON.parse(Buffer.concat(parts).toString()) as ToolCall[];
        batches.push(calls);
        if (options.answer !== undefined) this.answer(message.msg_id, await options.answer(calls));
      } else if (message.msg_type === "execute_reply" && message.parent_id === id) {
        return {
          reply: message.content,
          stdout: Buffer.concat(streams.stdout).toString(),
          stderr: Buffer.concat(streams.stderr).toString(),
          files,
          batches,
        };
      }
    }
  }

  answer(requestId: string, results: readonly ToolResult[]): void {
    const bytes = Buffer.from(JSON.stringify(results));
    this.send(
      {
        msg_type: "tool_reply",
        msg_id: this.id(),
        parent_id: requestId,
        content: { results_bytes: bytes.length },
      },
      bytes.subarray(0, MAX_BODY_BYTES),
    );
    this.#chunks(requestId, bytes.subarray(MAX_BODY_BYTES));
  }

  run(code: string | Uint8Array, options: RunOptions = {}): Promise<Outcome> {
    return this.finish(this.begin(code, options), options);
  }

  async write(
    path: string,
    content: string | Uint8Array,
    options: { readOnly?: boolean; size?: number | null; abort?: boolean } = {},
  ): Promise<{ status: string; message?: string | undefined; left_out?: string | undefined }> {
    const id = this.id();
    const bytes = Buffer.from(content);
    this.send({
      msg_type: "file_write_request",
      msg_id: id,
      content: {
        path,
        size: options.size === undefined ? bytes.length : options.size,
        read_only: options.readOnly ?? false,
      },
    });
    for (let offset = 0; offset < bytes.length; offset += MAX_BODY_BYTES) {
      this.send({ msg_type: "chunk", parent_id: id }, bytes.subarray(offset, offset + MAX_BODY_BYTES));
    }
    this.send({
      msg_type: "chunk",
      parent_id: id,
      content: options.abort === true ? { aborted: true } : { last: true },
    });
    const { message } = await this.next();
    if (message.msg_type !== "file_write_reply") throw new Error(`unexpected ${message.msg_type}`);
    if (message.parent_id !== id) throw new Error("a reply to another request");
    return message.content;
  }

  #chunks(parent: string, rest: Buffer): void {
    for (let offset = 0; offset < rest.length; offset += MAX_BODY_BYTES) {
      const last = offset + MAX_BODY_BYTES >= rest.length;
      this.send(
        { msg_type: "chunk", parent_id: parent, content: { last } },
        rest.subarray(offset, offset + MAX_BODY_BYTES),
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.stdin.end();
    await this.exited;
  }
}

/** The real supervisor as a plain process, with a data directory of its own. */
export class Supervised extends Conversation {
  readonly data: string;
  readonly #home: string;

  constructor(
    options: {
      preload?: readonly string[];
      env?: Record<string, string>;
      files?: Record<string, string>;
      /** Without them there is no `kernel`, and `python3` is the one of this machine. */
      programs?: SandboxPrograms;
    } = {},
  ) {
    const home = mkdtempSync(join(tmpdir(), "supervised-"));
    const data = mkdtempSync(join(home, "data-"));
    for (const [path, content] of Object.entries(options.files ?? {}))
      writeFileSync(join(data, path), content);
    const languages = [
      { id: "py", version: "3.11", command: [], extension: ".py" },
      { id: "bash", version: "5", command: ["/bin/bash"], extension: ".sh" },
    ];
    writeFileSync(join(home, "languages.json"), JSON.stringify(languages));
    writeFileSync(
      join(home, "preload.txt"),
      ["# libraries", "a_library_that_is_not_there", ...(options.preload ?? [])].join("\n"),
    );
    const { programs } = options;
    const path = process.env.PATH ?? "";
    const args = ["-I", "-B", SUPERVISOR, "--data", data, "--directory", home, ...(programs?.args ?? [])];
    super(
      spawn(programs === undefined ? python : join(programs.bin, "python3.11"), args, {
        stdio: ["pipe", "pipe", "pipe"],
        env: {
          PATH: programs === undefined ? path : `${programs.bin}:${path}`,
          LANG: "C.UTF-8",
          ...options.env,
        },
      }),
    );
    this.#home = home;
    this.data = data;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    rmSync(this.#home, { recursive: true, force: true });
  }
}
