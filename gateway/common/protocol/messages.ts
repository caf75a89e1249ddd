/**
 * The vocabulary between gateway and supervisor. Types and contents follow Jupyter's message specification where it
 * has one (jupyter-client documentation, "Messaging in Jupyter"); what Kernelyard adds is marked "own".
 * Everything that comes from a sandbox is hostile: `parseSandboxMessage` is the only way in.
 */
import { z } from "@hono/zod-openapi";

export const PROTOCOL_VERSION = 1;

/** Ids made by the gateway: 21 characters, the same shape as file and session ids. */
const MessageId = z.string().min(1).max(64);
/** A path relative to the data directory, `/`-separated, NFC, without empty, `.` or `..` segments. */
const RelativePath = z.string().min(1).max(4096);
const Count = z.number().int().nonnegative().safe();

// ---------------------------------------------------------------- gateway → supervisor

/** Own: proves that both ends stand on a frame boundary, and asks what the sandbox can do. */
export interface HelloRequest {
  readonly msg_type: "hello_request";
  readonly msg_id: string;
  readonly content: { readonly nonce: string };
}

/** A tool that a program may call while it runs (programmatic tool calling). */
export interface ToolDeclaration {
  /** The name as the client registered it; the sandbox derives the callable's name from it. */
  readonly name: string;
}

/** What the supervisor collects from the data directory after a run. Absent: nothing is collected. */
export interface CollectRules {
  /** Paths that were written for this call; each is reported as unchanged, modified or deleted. */
  readonly inputs: readonly string[];
  readonly max_files: number;
  readonly max_file_bytes: number;
  readonly max_total_bytes: number;
  readonly max_depth: number;
  readonly max_path_bytes: number;
}

/** What is sent while the code runs of what it shows. Absent: nothing. */
export interface DisplayRules {
  /** How often anything is sent; a display that is updated counts each time. */
  readonly max_files: number;
  readonly max_file_bytes: number;
  readonly max_total_bytes: number;
}

/** Jupyter's `execute_request`, with limits. The body is the code; code over 1 MiB continues in `chunk` frames. */
export interface ExecuteRequest {
  readonly msg_type: "execute_request";
  readonly msg_id: string;
  readonly content: {
    readonly language: string;
    /** Empty when `args_bytes` says that they precede the code. */
    readonly args: readonly string[];
    /** Arguments too long for a header: this many bytes before the code are their JSON. */
    readonly args_bytes?: number | undefined;
    /** Whole length of the code in bytes; what the body lacks follows as `chunk` frames with this `parent_id`. */
    readonly code_bytes: number;
    /**
     * Own: nothing follows. The code is a program: it finds what a script finds, ends as a script ends, and what it
     * started ends with it, before outputs are collected. Absent: a cell of a session.
     */
    readonly script?: boolean | undefined;
    /** Wall clock of user code; time spent waiting for tools does not count. */
    readonly timeout_ms: number;
    /** Limit on standard output, counted in UTF-16 units as LibreChat's reference counts it. */
    readonly stdout_limit: number;
    readonly stderr_limit: number;
    readonly collect?: CollectRules | undefined;
    readonly displays?: DisplayRules | undefined;
    readonly tools?: readonly ToolDeclaration[] | undefined;
  };
}

/** Jupyter's `interrupt_request`: the ladder starts at once instead of at the time-out. */
export interface InterruptRequest {
  readonly msg_type: "interrupt_request";
  readonly msg_id: string;
  readonly parent_id: string;
  /** Not wanted: nobody waits for the call any more, and what it made is for the next one to report. */
  readonly content: { readonly wanted: boolean };
}

/** Jupyter's `shutdown_request` with `restart: true`: a new kernel by fork, files kept. */
export interface RestartRequest {
  readonly msg_type: "shutdown_request";
  readonly msg_id: string;
  readonly content: { readonly restart: true };
}

/** Own: puts one file into the data directory. Its bytes follow as `chunk` frames; the last carries `last: true`. */
export interface FileWriteRequest {
  readonly msg_type: "file_write_request";
  readonly msg_id: string;
  readonly content: { readonly path: string; readonly size: number | null; readonly read_only: boolean };
}

/** Own: one piece of a file, of long code, or of long tool results. */
export interface Chunk {
  readonly msg_type: "chunk";
  readonly parent_id: string;
  /** `aborted` takes the place of `last` when the source failed: the receiver removes what it has. */
  readonly content?: { readonly last?: boolean | undefined; readonly aborted?: boolean | undefined };
}

/** Own: the answers to a `tool_call_request`. The body (and `chunk` frames up to `results_bytes`) is a JSON array of
 * `{call_id, result, is_error, error_message?}`. */
export interface ToolReply {
  readonly msg_type: "tool_reply";
  readonly msg_id: string;
  readonly parent_id: string;
  readonly content: { readonly results_bytes: number };
}

/**
 * Own, from the launcher while no gateway is attached: the sandbox is to be saved. It answers when nothing is on its way
 * in either direction, and is silent from then on until it is asked for something. `template`: whatever is made from it
 * starts without a kernel.
 */
export interface SleepRequest {
  readonly msg_type: "sleep_request";
  readonly msg_id: string;
  readonly content: { readonly template: boolean };
}

/** Own, from the launcher: the sandbox was restored. `fresh`: from a template, for somebody new, with a new kernel. */
export interface WokenRequest {
  readonly msg_type: "woken_request";
  readonly msg_id: string;
  readonly content: { readonly fresh: boolean; readonly memory_bytes: number };
}

/**
 * Own: the data directory as a tar archive, in `chunk` frames up to `last` or `aborted`; then the reply. Nothing comes when it is
 * as it was at the stamp `unless`, or takes more than `max_bytes`. Asked while no call runs.
 */
export interface WorkspaceReadRequest {
  readonly msg_type: "workspace_read_request";
  readonly msg_id: string;
  readonly content: { readonly max_bytes: number; readonly unless: string | null };
}

/** Own: such an archive is to be unpacked; it follows in `chunk` frames. Asked before any code runs. */
export interface WorkspaceWriteRequest {
  readonly msg_type: "workspace_write_request";
  readonly msg_id: string;
}

export type GatewayMessage =
  | HelloRequest
  | ExecuteRequest
  | InterruptRequest
  | RestartRequest
  | FileWriteRequest
  | Chunk
  | ToolReply
  | SleepRequest
  | WokenRequest
  | WorkspaceReadRequest
  | WorkspaceWriteRequest;

// ---------------------------------------------------------------- supervisor → gateway

const Language = z.object({
  id: z.string().regex(/^[a-z0-9]{1,16}$/),
  version: z.string().max(64),
});

const HelloReply = z.object({
  msg_type: z.literal("hello_reply"),
  parent_id: MessageId,
  content: z.object({
    nonce: z.string().max(64),
    protocol_version: z.literal(PROTOCOL_VERSION),
    languages: z.array(Language).max(64),
    /** The call that is running now, if any. */
    executing: MessageId.nullable(),
    /** Cells run by the present kernel. */
    execution_count: Count,
  }),
});

/** Jupyter's `stream`; the body is the text's bytes, cut anywhere. */
const Stream = z.object({
  msg_type: z.literal("stream"),
  parent_id: MessageId,
  content: z.object({ name: z.enum(["stdout", "stderr"]) }),
});

/**
 * Jupyter's `display_data`, told by the file that shows it: figures and displays are files of the call all the same. The body is
 * the file as it is now, whole; the same path may come again.
 */
const DisplayData = z.object({
  msg_type: z.literal("display_data"),
  parent_id: MessageId,
  content: z.object({ path: z.string().regex(/^(plot|display)_[0-9]{1,6}\.[a-z0-9]{1,8}$/) }),
});

/** Why a run ended other than by itself. */
export const EndReason = z.enum(["timeout", "stdout_limit", "out_of_memory", "interrupted", "kernel_died"]);
export type EndReason = z.infer<typeof EndReason>;

/** Why a file that somebody may wait for was left behind; the reference's words. */
export const LOSSES = ["max_files", "depth", "size", "path", "unreadable"] as const;
export type Loss = (typeof LOSSES)[number];

/** Jupyter's `execute_reply`. It is the last message of a call. */
const ExecuteReply = z.object({
  msg_type: z.literal("execute_reply"),
  parent_id: MessageId,
  content: z.object({
    status: z.enum(["ok", "error", "aborted"]),
    execution_count: Count,
    /** The program's exit code; null when a signal ended it. */
    exit_code: z.number().int().min(-255).max(255).nullable(),
    /** `SIGKILL`, `SIGSEGV` … when a signal ended the process that ran the code. */
    signal: z
      .string()
      .regex(/^SIG[A-Z0-9+-]{2,12}$/)
      .nullable(),
    reason: EndReason.nullable(),
    /** `kept`: variables are as the code left them; `restarted`: a new kernel, files kept. */
    kernel: z.enum(["kept", "restarted"]),
    wall_time_ms: z.number().nonnegative(),
    stdout_truncated: z.boolean(),
    stderr_truncated: z.boolean(),
    ename: z.string().max(1024).optional(),
    evalue: z.string().max(16384).optional(),
    /** Present when `collect` was asked for: what became of the inputs, and what could not be collected. */
    inputs: z
      .object({
        unchanged: z.array(RelativePath).max(2048),
        modified: z.array(RelativePath).max(2048),
        deleted: z.array(RelativePath).max(2048),
      })
      .optional(),
    /** The first of them by name. Without a loss: a link or the like, or a remark about the whole directory (`.`). */
    skipped: z
      .array(
        z.object({
          path: RelativePath,
          reason: z.string().max(200),
          loss: z.enum(LOSSES).nullish(),
        }),
      )
      .max(256)
      .optional(),
    /** How many files were left behind for each reason, all of them. */
    lost: z.partialRecord(z.enum(LOSSES), Count).optional(),
    /** The caller was gone before all was collected: the next call reports these files again. */
    taken_back: z.boolean().optional(),
  }),
});

/** Own: a new or changed file of the data directory; its bytes follow as `chunk` frames up to `last` or `aborted`. */
const FileOutput = z.object({
  msg_type: z.literal("file_output"),
  msg_id: MessageId,
  parent_id: MessageId,
  content: z.object({
    path: RelativePath,
    size: Count,
    change: z.enum(["created", "modified"]),
  }),
});

const SandboxChunk = z.object({
  msg_type: z.literal("chunk"),
  parent_id: MessageId,
  content: z.object({ last: z.boolean().optional(), aborted: z.boolean().optional() }).optional(),
});

const FileWriteReply = z.object({
  msg_type: z.literal("file_write_reply"),
  parent_id: MessageId,
  content: z.object({
    status: z.enum(["ok", "error"]),
    /** For a person: "No space left", "is a directory" … */
    message: z.string().max(500).optional(),
    /** The call can run without this file, and tells its code so: another file or folder has its place, or the
     * directory takes nothing now (full, say), which a session's code can put right. */
    left_out: z.enum(["taken", "unwritable"]).optional(),
  }),
});

/** Own: the program waits for these tools. The body (plus `chunk` frames up to `calls_bytes`) is a JSON array of
 * `{id, name, input}` with ids `call_001` … */
const ToolCallRequest = z.object({
  msg_type: z.literal("tool_call_request"),
  msg_id: MessageId,
  parent_id: MessageId,
  content: z.object({ calls_bytes: Count }),
});

/** Jupyter's `interrupt_reply` and `shutdown_reply`. */
const InterruptReply = z.object({ msg_type: z.literal("interrupt_reply"), parent_id: MessageId });
const ShutdownReply = z.object({ msg_type: z.literal("shutdown_reply"), parent_id: MessageId });

/** Own: `busy` when a call runs or bytes are on their way; the sandbox is then as it was. */
const SleepReply = z.object({
  msg_type: z.literal("sleep_reply"),
  parent_id: MessageId,
  content: z.object({ status: z.enum(["ready", "busy"]) }),
});
const WokenReply = z.object({ msg_type: z.literal("woken_reply"), parent_id: MessageId });

const WorkspaceReadReply = z.object({
  msg_type: z.literal("workspace_read_reply"),
  parent_id: MessageId,
  content: z.object({
    status: z.enum(["ok", "unchanged", "too_large", "error"]),
    /** Another one whenever anything in the directory is; null: it has too many files to tell. */
    stamp: z.string().max(64).nullish(),
    /** Of the archive; where it is too large, of the files. */
    bytes: Count.optional(),
    /** For a person: why it failed, or what is not in it. */
    message: z.string().max(500).optional(),
  }),
});
const WorkspaceWriteReply = z.object({
  msg_type: z.literal("workspace_write_reply"),
  parent_id: MessageId,
  content: z.object({ status: z.enum(["ok", "error"]), message: z.string().max(500).optional() }),
});

export const SandboxMessage = z.discriminatedUnion("msg_type", [
  HelloReply,
  Stream,
  DisplayData,
  ExecuteReply,
  FileOutput,
  SandboxChunk,
  FileWriteReply,
  ToolCallRequest,
  InterruptReply,
  ShutdownReply,
  SleepReply,
  WokenReply,
  WorkspaceReadReply,
  WorkspaceWriteReply,
]);
export type SandboxMessage = z.infer<typeof SandboxMessage>;

/** Parses a header that a sandbox sent; null when it is not JSON or not a message we know. */
export function parseSandboxMessage(header: Buffer): SandboxMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(header.toString("utf8"));
  } catch {
    return null;
  }
  const parsed = SandboxMessage.safeParse(value);
  return parsed.success ? parsed.data : null;
}
