/**
 * What LibreChat does, of both generations, by many users at once: calls of sessions, bash, streams, programs with tools, files up and down,
 * hang-ups, cancellations. Everything that is heard is compared with what must be.
 */
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { type Caller, download, type StoredFile, upload } from "../../../contract/support/files.ts";
import {
  callTool,
  type FileEntry,
  loadAgents,
  loadOldAgents,
  type ToolMessage,
} from "../../../support/librechat/clients.ts";
import type { LibrechatUser } from "../../../support/librechat/tokens.ts";
import { type Call, Conversation } from "./conversation.ts";
import type { Hosts } from "./hosts.ts";

const MIB = 1 << 20;
const USERS = 10;
/** Whoever waits for longer waits in vain, on the slowest machine. */
const PATIENCE_MS = 300_000;

const KINDS = {
  cell: 34,
  bash: 14,
  stream: 12,
  "hang-up": 7,
  "first generation": 9,
  program: 8,
  "cancelled program": 4,
  "file in and out": 9,
  download: 3,
} as const;
type Kind = keyof typeof KINDS | "large file";

interface Kept {
  readonly file: StoredFile;
  readonly caller: "key" | LibrechatUser;
  readonly sha256: string;
}

const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex");

export class Load {
  readonly problems: string[] = [];
  readonly conversations: readonly Conversation[];
  /** Calls that ended, by kind: with what must be, and not at all. */
  readonly done = new Map<string, { heard: number; failed: number }>();
  /** Failures in their clients' words. */
  readonly failures = new Map<string, number>();
  /** Since `forgetWaits`: the longest that a call took, and what it was. */
  longest = { ms: 0, what: "" };
  readonly #hosts: Hosts;
  readonly #apiKey: string;
  readonly #random: () => number;
  readonly #kept: Kept[] = [];
  #left = 0;
  #going = false;
  #workers: Promise<void>[] = [];

  constructor(hosts: Hosts, apiKey: string, conversations: number, random: () => number) {
    this.#hosts = hosts;
    this.#apiKey = apiKey;
    this.#random = random;
    const users = Array.from({ length: USERS }, (_, n) => ({ id: `64f0000000000000000001${10 + n}` }));
    this.conversations = Array.from(
      { length: conversations },
      (_, n) => new Conversation(n, users[n % USERS] ?? { id: "64f000000000000000000999" }),
    );
  }

  /** So many calls, some at the same time. */
  async run(calls: number, atOnce: number): Promise<void> {
    this.#left = calls;
    const work = async () => {
      while (this.#left > 0) {
        this.#left -= 1;
        await this.#one();
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
  }

  /** Until `end`. */
  begin(atOnce: number): void {
    this.#going = true;
    const work = async () => {
      while (this.#going) await this.#one();
    };
    this.#workers = Array.from({ length: atOnce }, work);
  }

  async end(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#workers);
  }

  forgetWaits(): void {
    this.longest = { ms: 0, what: "" };
  }

  /** A call of each conversation that is not in one; it has to be heard. Resolves with the longest time that one was not served. */
  async everybody(): Promise<number> {
    const began = performance.now();
    let longest = 0;
    const waiting = [...this.conversations];
    const work = async () => {
      for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
        while (one.busy) await delay(20);
        const since = performance.now();
        while (one.repliedAt < since) {
          await this.#do("cell", one);
          if (performance.now() - began > PATIENCE_MS) {
            this.problems.push(`${one.hint} is not served any more`);
            break;
          }
        }
        longest = Math.max(longest, performance.now() - since);
      }
    };
    await Promise.all(Array.from({ length: 6 }, work));
    return longest;
  }

  /** What was handed out is there, whichever host is asked, and nothing was handed out twice for one run. */
  async filesAreThere(most = Number.POSITIVE_INFINITY): Promise<number> {
    const waiting = this.#kept.slice(-most);
    const count = waiting.length;
    const work = async () => {
      for (let kept = waiting.shift(); kept !== undefined; kept = waiting.shift()) await this.#download(kept);
    };
    await Promise.all(Array.from({ length: 6 }, work));
    const records = join(this.#hosts.s3.directory, this.#hosts.bucket, "files");
    const names = readdirSync(records).map(
      (record) =>
        z.looseObject({ name: z.string() }).parse(JSON.parse(readFileSync(join(records, record), "utf8")))
          .name,
    );
    const runs = names.filter((name) => name.startsWith("run-")).map((name) => name.slice("run-".length));
    for (const name of new Set(runs.filter((one, n) => runs.indexOf(one) !== n))) {
      const unheard = this.conversations.some((one) => one.isUnknown(name));
      this.problems.push(`${name} left its file twice${unheard ? ", and nobody heard its reply" : ""}`);
    }
    return count;
  }

  /** Refusals begin when all hosts together have answered as many as one may. */
  async answeredBeforeRefused(user: LibrechatUser, most: number): Promise<number> {
    let answered = 0;
    let refused = false;
    const work = async () => {
      while (!refused && answered < most) {
        const response = await fetch(`${this.#hosts.baseUrl}/download/${"s".repeat(21)}/${"f".repeat(21)}`, {
          headers: this.#authorization(user),
        });
        await response.text();
        if (response.status === 429) refused = true;
        else answered += 1;
      }
    };
    await Promise.all(Array.from({ length: 6 }, work));
    return answered;
  }

  async largeFile(of: Conversation): Promise<void> {
    while (of.busy) await delay(20);
    await this.#do("large file", of);
  }

  report(): string {
    const rows = [...this.done].map(
      ([kind, { failed, heard }]) => `${kind} ${heard}${failed ? ` (+${failed} failed)` : ""}`,
    );
    const resets = this.conversations.reduce((sum, { resets }) => sum + resets, 0);
    const notes = this.conversations.reduce((sum, { notesLost }) => sum + notesLost, 0);
    const failures = [...this.failures].map(([words, count]) => `  ${count} × ${words}`);
    return [
      rows.join(", "),
      `variables lost and told ${resets} times; notes younger than the last save lost with a host, and told: ${notes}`,
      ...failures,
    ].join("\n");
  }

  async #one(): Promise<void> {
    for (;;) {
      const free = this.conversations.filter(({ busy }) => !busy);
      const of = free[Math.floor(this.#random() * free.length)];
      if (of !== undefined) return this.#do(this.#kind(), of);
      await delay(20);
    }
  }

  #kind(): Kind {
    const all = Object.entries(KINDS).flatMap(([kind, weight]) => Array<string>(weight).fill(kind));
    return z
      .enum(Object.keys(KINDS) as [keyof typeof KINDS])
      .parse(all[Math.floor(this.#random() * all.length)]);
  }

  async #do(kind: Kind, of: Conversation): Promise<void> {
    of.busy = true;
    const began = performance.now();
    const count = this.done.get(kind) ?? { heard: 0, failed: 0 };
    this.done.set(kind, count);
    try {
      await this.#call(kind, of);
      count.heard += 1;
    } catch (error) {
      count.failed += 1;
      this.#noted((error instanceof Error ? error.message : String(error)).slice(0, 160));
      // Whoever refuses does not refuse at once again.
      await delay(100);
    } finally {
      const ms = performance.now() - began;
      if (ms > this.longest.ms) this.longest = { ms, what: `${kind} of ${of.hint.slice(-6)}` };
      if (ms > PATIENCE_MS) this.problems.push(`${kind} took ${Math.round(ms / 1000)} s`);
      of.busy = false;
    }
  }

  #noted(words: string): void {
    this.failures.set(words, (this.failures.get(words) ?? 0) + 1);
  }

  async #call(kind: Kind, of: Conversation): Promise<void> {
    switch (kind) {
      case "cell": {
        const call = of.next();
        return this.#told(of, call, this.#python(of, call.code));
      }
      case "bash": {
        const call = of.next();
        const tool = loadAgents().createBashExecutionTool(this.#params(of));
        const command = `kernel <<'PY'\n${call.code}\nPY`;
        return this.#told(of, call, callTool(tool, "bash_tool", { command }));
      }
      case "stream":
        return this.#stream(of);
      case "hang-up":
        return this.#hangUp(of);
      case "first generation":
        return this.#firstGeneration();
      case "program":
        return this.#program(of.user);
      case "cancelled program":
        return this.#cancelled(of.user);
      case "file in and out":
        return this.#fileInAndOut(of, 20_000);
      case "large file":
        return this.#fileInAndOut(of, 50 * MIB);
      case "download": {
        const kept = this.#kept[Math.floor(this.#random() * this.#kept.length)];
        if (kept !== undefined) await this.#download(kept);
      }
    }
  }

  #authorization = (user: LibrechatUser) => this.#hosts.signer.headers(user);

  #caller(of: "key" | LibrechatUser): Caller {
    const headers = of === "key" ? { "X-API-Key": this.#apiKey } : { ...this.#authorization(of) };
    return { baseUrl: this.#hosts.baseUrl, headers, userId: of === "key" ? "nobody" : of.id };
  }

  #params({ hint, user }: Conversation): object {
    return {
      baseUrl: this.#hosts.baseUrl,
      authHeaders: async () => this.#authorization(user),
      statefulSessions: true,
      runtimeSessionHint: hint,
      executionProfile: "stateful",
    };
  }

  #python(of: Conversation, code: string, context: object = {}): Promise<ToolMessage> {
    const tool = loadAgents().createCodeExecutionTool(this.#params(of));
    return callTool(tool, "execute_code", { lang: "py", code }, context);
  }

  async #told(of: Conversation, call: Call, asked: Promise<ToolMessage>): Promise<void> {
    const { artifact, content } = await asked.catch((error: unknown) => {
      of.unheard(call);
      throw error;
    });
    this.problems.push(...of.heard(call, content));
    const ledger = artifact.files?.find(({ name }) => name === `run-${call.name}`);
    // A bucket that is away takes none, and the reply says so.
    if (ledger === undefined) this.#noted(`no file of a call: ${content.slice(-120)}`);
    else this.#keep(ledger, artifact.session_id, of.user, call.name);
  }

  #keep(
    { id, name, storage_session_id }: FileEntry,
    session: string | undefined,
    caller: Kept["caller"],
    content: string | Uint8Array,
  ): void {
    const file = { id, name, storage_session_id: storage_session_id ?? session ?? "" };
    this.#kept.push({ file, caller, sha256: sha256(content) });
  }

  async #download({ caller, file, sha256: expected }: Kept): Promise<void> {
    const query = caller === "key" ? "" : `?kind=user&id=${caller.id}`;
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      const answer = await download(this.#caller(caller), file, query).catch(() => null);
      if (answer?.status === 200) {
        if (sha256(answer.bytes) !== expected) this.problems.push(`${file.name} has other content`);
        return;
      }
      // A bucket that is away says so; a file that is gone stays gone.
      if (answer?.status === 404 || performance.now() > until) {
        this.problems.push(`${file.name} is not there: ${answer?.status}`);
        return;
      }
      await delay(200);
    }
  }

  async #exec(of: Conversation, path: string, code: string, signal: AbortSignal): Promise<string> {
    const response = await fetch(`${this.#hosts.baseUrl}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...this.#authorization(of.user) },
      body: JSON.stringify({ lang: "py", code, runtime_session_hint: of.hint }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(2 * PATIENCE_MS)]),
    });
    const said = await response.text();
    if (!response.ok) throw new Error(`${path} ${response.status} ${said.slice(0, 100)}`);
    return said;
  }

  async #stream(of: Conversation): Promise<void> {
    const call = of.next("print('begun', flush=True)");
    const signal = new AbortController().signal;
    const said = await this.#exec(of, "/exec/stream", call.code, signal).catch((error: unknown) => {
      of.unheard(call);
      throw error;
    });
    const result = /event: result\ndata: (.*)/.exec(said)?.[1];
    if (result === undefined) {
      of.unheard(call);
      throw new Error(`a stream ended without a result: ${said.slice(-160)}`);
    }
    const { stderr, stdout } = z
      .looseObject({ stdout: z.string(), stderr: z.string() })
      .parse(JSON.parse(result));
    if (!said.includes("event: stdout"))
      this.problems.push(`${call.name}: nothing was heard of it while it ran`);
    this.problems.push(...of.heard(call, `${stdout}\n${stderr}`));
  }

  /** Nobody knows what came of it; the session goes on. */
  async #hangUp(of: Conversation): Promise<void> {
    const call = of.next("import time; time.sleep(0.5)");
    const gone = new AbortController();
    of.unheard(call);
    setTimeout(() => gone.abort(), 100 + this.#random() * 800);
    await this.#exec(of, "/exec", call.code, gone.signal).catch((error: unknown) => {
      if (!gone.signal.aborted) throw error;
    });
  }

  async #firstGeneration(): Promise<void> {
    const name = randomBytes(6).toString("hex");
    const tool = loadOldAgents(this.#hosts.baseUrl).createCodeExecutionTool({
      apiKey: this.#apiKey,
      files: [],
    });
    const code = `open("old-${name}.txt", "w").write("${name}"); print(len("${name}"))`;
    const { artifact, content } = await callTool(tool, "execute_code", { lang: "py", code });
    if (!content.includes("12")) this.problems.push(`first generation heard ${content.slice(0, 200)}`);
    const file = artifact.files?.[0];
    if (file === undefined) this.#noted(`no file of a call: ${content.slice(-120)}`);
    else this.#keep(file, artifact.session_id, "key", name);
  }

  async #program(user: LibrechatUser): Promise<void> {
    const asked: unknown[] = [];
    const { content } = await this.#tools(
      user,
      "total = 0\nfor i in range(3):\n    total = await add(a=total, b=i + 1)\nprint('total', total)",
      (input) => {
        asked.push(input);
        const { a, b } = z.object({ a: z.number(), b: z.number() }).parse(input);
        return a + b;
      },
    );
    if (!content.includes("total 6")) this.problems.push(`a program said ${content.slice(0, 200)}`);
    if (asked.length !== 3) this.problems.push(`a program asked its tool ${asked.length} times`);
  }

  async #cancelled(user: LibrechatUser): Promise<void> {
    const stop = new AbortController();
    const running = this.#tools(
      user,
      "await add(a=1, b=1)\nwhile True: pass",
      () => {
        setTimeout(() => stop.abort(), 200);
        return 2;
      },
      stop.signal,
    );
    const outcome = await running.then(
      () => "it ended",
      (error: unknown) => error,
    );
    if (outcome === "it ended") this.problems.push("a program that was cancelled ended well");
    else if (!stop.signal.aborted) throw outcome;
  }

  #tools(user: LibrechatUser, code: string, add: (input: unknown) => unknown, signal?: AbortSignal) {
    const params = { baseUrl: this.#hosts.baseUrl, authHeaders: async () => this.#authorization(user) };
    const parameters = { type: "object", properties: {} };
    const toolMap = new Map([
      ["add", { name: "add", schema: { type: "object" }, invoke: async (input: unknown) => add(input) }],
    ]);
    return callTool(
      loadAgents().createProgrammaticToolCallingTool(params),
      "run_tools_with_code",
      { code },
      { toolDefs: [{ name: "add", description: "adds", parameters }], toolMap },
      signal === undefined ? {} : { signal },
    );
  }

  async #fileInAndOut(of: Conversation, bytes: number): Promise<void> {
    const content = randomBytes(bytes);
    const name = `in-${randomBytes(4).toString("hex")}.bin`;
    const identity = { kind: "user", id: of.user.id } as const;
    const file = await upload(this.#caller(of.user), identity, { name, content });
    this.#kept.push({ file, caller: of.user, sha256: sha256(content) });
    const copy = `import hashlib, os, shutil
print("SEEN", hashlib.file_digest(open("${name}", "rb"), "sha256").hexdigest())
shutil.copyfile("${name}", "out-${name}"); os.remove("${name}")`;
    const call = of.next(copy);
    const refs = [{ ...file, kind: "user", resource_id: of.user.id }];
    const { artifact, content: said } = await this.#python(of, call.code, { _injected_files: refs }).catch(
      (error: unknown) => {
        of.unheard(call);
        throw error;
      },
    );
    this.problems.push(...of.heard(call, said));
    if (!said.includes(sha256(content))) this.problems.push(`${name} has other content in its session`);
    const out = artifact.files?.find((one) => one.name === `out-${name}`);
    if (out === undefined) this.#noted(`no file of a call: ${said.slice(-120)}`);
    else this.#keep(out, artifact.session_id, of.user, content);
  }
}
