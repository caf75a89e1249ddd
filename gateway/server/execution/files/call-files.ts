/** The files of one execution: references in, `files` of the reply out. */
import { Readable } from "node:stream";
import type { Settings } from "../../../common/settings/read.ts";
import type { Principal } from "../../auth/principal.ts";
import { contentTypeOf } from "../../files/content-type.ts";
import { normaliseName } from "../../files/names.ts";
import {
  claimColumns,
  type FileCaller,
  fileCaller,
  fileHolder,
  mayUseFound,
  ownerKey,
  USER_CLAIM,
} from "../../files/ownership.ts";
import { type FileRecord, type FileStore, FileStoreError, type StagedFile } from "../../files/store.ts";
import type { InputFile, OutputFile, OutputSink } from "../../kernel/run.ts";
import {
  type FileRef,
  type InputFates,
  type LineageFacts,
  planInputs,
  type ReplyFiles,
  traceLineage,
} from "./lineage.ts";

/** What one execution may leave. */
export type OutputLimits = Pick<Settings, "outputFilesMax" | "fileMaxBytes" | "outputTotalBytes">;

export interface ExecFilesRequest {
  readonly principal: Principal;
  /** The new session of this execution: a fresh `newId()`. */
  readonly sessionId: string;
  readonly refs: readonly FileRef[];
  readonly limits: OutputLimits;
}

export type PreparedFiles =
  | { readonly ok: true; readonly files: ExecFiles }
  /** 400: the references contradict themselves. 403: one is unknown, expired or someone else's, and which stays unsaid. */
  | { readonly ok: false; readonly status: 400 | 403; readonly error: string };

/** Files of one name that a note names one by one. */
const MAX_NAMED = 3;

const REFUSED: PreparedFiles = { ok: false, status: 403, error: "Unauthorized file reference" };

/** Finds and authorises every reference before anything runs. Of several with one name the newest stored file wins. */
export async function prepareExecFiles(store: FileStore, request: ExecFilesRequest): Promise<PreparedFiles> {
  const plan = planInputs(request.refs);
  if (!plan.ok) return { ok: false, status: 400, error: plan.error };
  const caller = fileCaller(request.principal);
  const inputs: ResolvedInput[] = [];
  const notes: string[] = [];
  for (const { path, refs } of plan.inputs) {
    const rivals: ResolvedInput[] = [];
    for (const ref of refs) {
      const found = await store.find(ref.storageSessionId, ref.id);
      if (!found || !mayUseFound(caller, ref.claim, found)) return REFUSED;
      rivals.push({ path, ref, record: found.record });
    }
    const [newest, ...older] = rivals.sort(newestFirst);
    if (newest === undefined) continue;
    inputs.push(newest);
    const note = leftOut(newest, older);
    if (note !== null) notes.push(note);
  }
  return { ok: true, files: new ExecFiles(store, caller, request, inputs, notes) };
}

/** LibreChat sends references of one name in any order: only the store knows which came last. */
function newestFirst({ record: a }: ResolvedInput, { record: b }: ResolvedInput): number {
  return Date.parse(b.modifiedAt) - Date.parse(a.modifiedAt) || (a.id < b.id ? -1 : 1);
}

/** One line about the files that a newer one of their name keeps out. */
function leftOut({ path, record }: ResolvedInput, older: readonly ResolvedInput[]): string | null {
  const losers = new Map(older.map((input) => [input.record.id, input.record]));
  losers.delete(record.id);
  if (losers.size === 0) return null;
  const named = [...losers.values()]
    .slice(0, MAX_NAMED)
    .map(({ id, modifiedAt }) => `${id} of ${modifiedAt}`);
  const more = losers.size > named.length ? ` and ${losers.size - named.length} more` : "";
  return `${path} was sent ${losers.size + 1} times: the newest (${record.id} of ${record.modifiedAt}) is used, not ${named.join(", ")}${more}.`;
}

interface ResolvedInput {
  readonly ref: FileRef;
  readonly path: string;
  readonly record: FileRecord;
}

interface StagedOutput {
  readonly path: string;
  readonly name: string;
  readonly staged: StagedFile;
}

/** Whoever prepared it calls `settle` or `discard` in the end. */
export class ExecFiles {
  /** What the caller should know of the inputs; one line each. */
  readonly notes: readonly string[];
  readonly inputs: readonly InputFile[];
  readonly outputs: OutputSink;
  readonly #store: FileStore;
  readonly #caller: FileCaller;
  readonly #request: ExecFilesRequest;
  readonly #resolved: readonly ResolvedInput[];
  readonly #staged: StagedOutput[] = [];
  readonly #takenNames: Set<string>;
  #stagedBytes = 0;

  constructor(
    store: FileStore,
    caller: FileCaller,
    request: ExecFilesRequest,
    resolved: readonly ResolvedInput[],
    notes: readonly string[],
  ) {
    this.notes = notes;
    this.#store = store;
    this.#caller = caller;
    this.#request = request;
    this.#resolved = resolved;
    this.#takenNames = new Set(resolved.map((input) => input.path));
    this.inputs = resolved.map(({ path, record }) => ({
      path,
      size: record.size,
      readOnly: record.readOnly,
      open: () => openLater(store, record, path),
    }));
    this.outputs = { accept: (file, body) => this.#accept(file, body) };
  }

  /** Keeps what the sink took (nothing that was taken back), and says what became of every file. Durable when it resolves. */
  async settle(end: {
    readonly inputs: InputFates | null;
    readonly undelivered: readonly { readonly path: string }[];
    readonly leftBehind: LineageFacts["leftBehind"];
    readonly takenBack: boolean;
  }): Promise<ReplyFiles> {
    if (end.takenBack) await this.discard();
    const staged = this.#staged.splice(0);
    const kept = await this.#commit(staged);
    const lineage = traceLineage({
      sessionId: this.#request.sessionId,
      inputs: this.#resolved.map(({ ref, path, record }) => ({ ref, path, readOnly: record.readOnly })),
      fates: end.inputs,
      outputs: kept.map(({ path, name, staged: { id } }) => ({ id, path, name })),
      undelivered: end.undelivered.length + staged.length - kept.length,
      leftBehind: end.leftBehind,
    });
    await this.#link(new Set([...kept.map(({ path }) => path), ...(end.inputs?.deleted ?? [])]));
    return lineage;
  }

  /** The code has run: a full disk costs its files, never its output. */
  async #commit(staged: readonly StagedOutput[]): Promise<readonly StagedOutput[]> {
    if (staged.length === 0) return [];
    try {
      await this.#store.commit(
        staged.map(({ name, staged: bytes }) => ({
          staged: bytes,
          file: {
            storageSessionId: this.#request.sessionId,
            name,
            contentType: contentTypeOf(name),
            owner: ownerKey(this.#caller, USER_CLAIM),
            ...claimColumns({ kind: "user", id: this.#caller.user, version: null }),
            readOnly: false,
            storedBy: fileHolder(this.#request.principal).key,
          },
        })),
      );
      return staged;
    } catch (error) {
      if (error instanceof FileStoreError && error.code === "storage_full") return [];
      throw error;
    }
  }

  /** Inputs that are still what they were appear in this execution's listing; older clients read it. */
  async #link(gone: ReadonlySet<string>): Promise<void> {
    const owner = ownerKey(this.#caller, USER_CLAIM);
    const links = this.#resolved
      .filter(({ path, record }) => record.readOnly || !gone.has(path))
      .map(({ path, record }) => ({
        sessionId: this.#request.sessionId,
        fileId: record.id,
        owner,
        name: path,
      }));
    try {
      await this.#store.link(links);
    } catch (error) {
      if (!(error instanceof FileStoreError && error.code === "storage_full")) throw error;
    }
  }

  /** The call came to nothing: forgets what the sink took. */
  async discard(): Promise<void> {
    for (const { staged } of this.#staged.splice(0)) await this.#store.discard(staged);
  }

  async #accept(file: OutputFile, body: Readable): Promise<void> {
    const input = this.#resolved.find(({ path }) => path === file.path);
    // Whatever the code did to a read-only input, the reply names the original.
    if (input?.record.readOnly) return;
    if (this.#staged.some(({ path }) => path === file.path)) throw new Error("the file was announced twice");
    const name = normaliseName(file.path);
    if (!name.ok) throw new Error(`the file cannot be kept: ${name.reason}`);
    const { limits } = this.#request;
    if (this.#staged.length >= limits.outputFilesMax) {
      throw new Error(`more than ${limits.outputFilesMax} files: KERNELYARD_OUTPUT_FILES_MAX`);
    }
    const left = limits.outputTotalBytes - this.#stagedBytes;
    const staged = await this.#store.stage(body, {
      maxBytes: Math.min(limits.fileMaxBytes, left),
      holder: fileHolder(this.#request.principal),
    });
    // Written anew with the same bytes: nothing changed.
    if (input && staged.etag === input.record.etag) {
      await this.#store.discard(staged);
      return;
    }
    this.#stagedBytes += staged.size;
    this.#staged.push({ path: file.path, name: input ? input.path : this.#freeName(name.name), staged });
  }

  /** Two paths can have one normalised name: the second gets a number, nothing is overwritten. */
  #freeName(name: string): string {
    let free = name;
    for (let number = 2; this.#takenNames.has(free); number++) {
      const dot = name.lastIndexOf(".");
      const split = dot > name.lastIndexOf("/") + 1 ? dot : name.length;
      free = `${name.slice(0, split)} (${number})${name.slice(split)}`;
    }
    this.#takenNames.add(free);
    return free;
  }
}

/** The content, opened when it is first read. */
function openLater(store: FileStore, record: FileRecord, path: string): Readable {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    const content = await store.open(record);
    if (!content) throw new FileStoreError("gone", `the content of "${path}" has expired`);
    yield* content;
  }
  return Readable.from(bytes(), { objectMode: false, highWaterMark: 256 * 1024 });
}
