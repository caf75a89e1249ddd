/** The thread that reads large JSON texts, one after another. What it cannot stand costs this thread alone. */
import { constants, getPriority, setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { type JsonKind, readJsonText } from "./json-reading.ts";
import { measureJson, Unreadable } from "./json-shape.ts";

export interface JsonJob {
  readonly module: string;
  readonly name: string;
  readonly bytes: ArrayBuffer;
}

export type JsonAnswer =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false;
      readonly code: Unreadable["code"] | "unexpected";
      readonly message: string;
      readonly verbatim: boolean;
    };

// Linux takes this for the calling thread alone (setpriority(2)): where CPUs are short, everybody else's calls come first.
setPriority(Math.max(getPriority(), constants.priority.PRIORITY_BELOW_NORMAL));

/** Loaded before the first text comes: later the program's files may be out of reach. */
const modules = new Map<string, Readonly<Record<string, JsonKind<unknown>>>>();
for (const url of workerData as readonly string[]) modules.set(url, await import(url));

function answer({ module, name, bytes }: JsonJob): JsonAnswer {
  const kind = modules.get(module)?.[name];
  if (kind === undefined) throw new Error(`${module} has no ${name}`);
  try {
    const text = new Uint8Array(bytes);
    measureJson(text, kind.limits);
    return { ok: true, value: readJsonText(kind, text) };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { ok: false, code: error.code, message: error.message, verbatim: error.verbatim };
  }
}

parentPort?.on("message", (job: JsonJob) => {
  let said: JsonAnswer;
  try {
    said = answer(job);
  } catch (error) {
    // Its message may quote the text.
    const name = error instanceof Error ? error.name : "unknown";
    said = { ok: false, code: "unexpected", message: name, verbatim: false };
  }
  parentPort?.postMessage(said);
});
parentPort?.postMessage("ready");
