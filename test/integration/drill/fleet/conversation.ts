/**
 * One conversation of a user with a stateful session: what its variables and its files must be is known from its replies alone. Each call
 * notes its own name in a variable, in a file, and in a file of its own; a name that is there twice was run twice.
 */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { LibrechatUser } from "../../../support/librechat/tokens.ts";

const State = z.object({ log: z.array(z.string()), secret: z.string(), ledger: z.array(z.string()) });
const LOST = /variables(?: and files)? are lost/;
const FILES_LOST = /variables and files are lost/;
const AS_SAVED = /files are as they were last saved/;
const MOVED = /it moved to another host/;

export interface Call {
  readonly name: string;
  readonly code: string;
}

export class Conversation {
  readonly user: LibrechatUser;
  readonly hint: string;
  /** A call of it is under way. */
  busy = false;
  /** `performance.now()` of its last reply. */
  repliedAt = Number.NEGATIVE_INFINITY;
  /** Its variables were lost, and it was told; of its files, the last so many notes. */
  resets = 0;
  notesLost = 0;
  readonly #n: number;
  readonly #secret = randomBytes(8).toString("hex");
  readonly #issued = new Set<string>();
  /** Calls of which nobody knows what came of them. */
  readonly #maybe = new Set<string>();
  #log: readonly string[] = [];
  #ledger: readonly string[] = [];
  #heard = false;
  /** A call since then may have been told what was lost. */
  #unheard = false;

  constructor(n: number, user: LibrechatUser) {
    this.#n = n;
    this.user = user;
    this.hint = `v2:conversation:${randomBytes(16).toString("hex")}`;
  }

  /** `first`: before anything is noted. */
  next(first = ""): Call {
    const name = `c${this.#n}-${this.#issued.size}-${randomBytes(3).toString("hex")}`;
    this.#issued.add(name);
    const code = `import json
${first}
if "log" not in globals(): log, secret = [], "${this.#secret}"
log.append("${name}")
with open("ledger", "a") as f: f.write("${name}\\n")
with open("run-${name}", "w") as f: f.write("${name}")
print("STATE", json.dumps({"log": log, "secret": secret, "ledger": open("ledger").read().split()}))`;
    return { name, code };
  }

  /** Whether nobody knows what came of a call. */
  isUnknown(name: string): boolean {
    return this.#maybe.has(name);
  }

  /** No reply came. */
  unheard({ name }: Call): void {
    this.#maybe.add(name);
    this.#unheard = true;
  }

  /** What is wrong with a reply; none: nothing. */
  heard({ name }: Call, said: string): string[] {
    this.repliedAt = performance.now();
    const shown = /STATE (\{.*\})/.exec(said)?.[1];
    const read = State.safeParse(shown === undefined ? undefined : JSON.parse(shown));
    if (!read.success) {
      this.#maybe.add(name);
      return [`${name}: no state in ${JSON.stringify(said.slice(0, 400))}`];
    }
    const { ledger, log, secret } = read.data;
    const problems = [
      ...(secret === this.#secret ? [] : ["another one's variables"]),
      ...[...log, ...ledger]
        .filter((one) => !this.#issued.has(one))
        .map((one) => `another one's note ${one}`),
      ...twice(log).map((one) => `${one} is in the variables twice`),
      ...twice(ledger).map((one) => `${one} is in the files twice`),
      ...(log.at(-1) === name && ledger.at(-1) === name ? [] : ["it is not the last one noted"]),
      ...this.#variables(log.slice(0, -1), said),
      ...this.#files(ledger.slice(0, -1), said),
    ];
    this.#log = log;
    this.#ledger = ledger;
    this.#heard = true;
    this.#unheard = false;
    return problems.map((problem) => `${name}: ${problem}; said ${JSON.stringify(said.slice(-700))}`);
  }

  /** Goes on where it was, or all is new and it is told. */
  #variables(before: readonly string[], said: string): string[] {
    if (this.#goesOn(this.#log, before)) return [];
    this.resets += 1;
    const unknown = before.filter((one) => !this.#maybe.has(one));
    if (unknown.length > 0) return [`variables of some other time: ${unknown}`];
    return LOST.test(said) || this.#unheard ? [] : ["variables are gone, and nobody said so"];
  }

  #files(before: readonly string[], said: string): string[] {
    if (this.#goesOn(this.#ledger, before)) return [];
    const [had, has] = [this.#ledger, before].map((notes) => notes.filter((one) => !this.#maybe.has(one)));
    if (had === undefined || has === undefined || has.some((one, n) => one !== had[n]))
      return ["files of no earlier time"];
    this.notesLost += had.length - has.length;
    const told = FILES_LOST.test(said) ? has.length === 0 : AS_SAVED.test(said);
    if (MOVED.test(said) && has.length < had.length) return ["it moved, and not with all of its files"];
    return told || this.#unheard ? [] : ["files are older, and nobody said so"];
  }

  /** As before, but for calls of which nobody knew. */
  #goesOn(had: readonly string[], has: readonly string[]): boolean {
    if (!this.#heard) return has.every((one) => this.#maybe.has(one));
    const sure = (notes: readonly string[]) => notes.filter((one) => !this.#maybe.has(one)).join();
    return sure(had) === sure(has) && had.every((one) => has.includes(one));
  }
}

function twice(names: readonly string[]): string[] {
  return names.filter((name, n) => names.indexOf(name) !== n);
}
