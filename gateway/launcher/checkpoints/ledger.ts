/**
 * Which sessions have variables to lose, kept on disk: whatever ends launcher, engine or machine, a session whose
 * variables are gone is told so, once.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";

const Entry = z.discriminatedUnion("state", [
  /** Code has run in this sandbox; where it is no more, nobody saw its end. */
  z.object({ state: z.literal("awake"), sandbox: z.string() }).strict(),
  z.object({ state: z.literal("lost"), why: z.string(), sandbox: z.string() }).strict(),
]);
type Entry = z.infer<typeof Entry>;

/** The end of a sentence, for a session whose sandbox went without a word. */
const UNSEEN = "the machine or its services were restarted";

const MOST_UNWRITTEN = 10_000;

export class Ledger {
  readonly #directory: string;
  /** What a full disk did not take, the latest of it: told from here, as long as this process lives. */
  readonly #unwritten = new Map<string, Entry>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** `sandbox` has variables of the session. */
  awake(volume: string, sandbox: string): void {
    this.#write(volume, { state: "awake", sandbox });
  }

  /** They are gone. Where `sandbox` is given: only if it had them. */
  lost(volume: string, why: string, sandbox?: string): void {
    if (sandbox !== undefined && !this.#has(volume, sandbox)) return;
    this.#write(volume, { state: "lost", why, sandbox: sandbox ?? "" });
  }

  /** There is nothing to lose. */
  forget(volume: string): void {
    this.#unwritten.delete(volume);
    rmSync(this.#path(volume), { force: true });
  }

  /** `sandbox` is to go, and if it had the variables, or was the last that had: `why` is told, null is told nobody. */
  settle(volume: string, sandbox: string, why: string | null): void {
    const entry = this.#read(volume);
    if (entry === null || entry.sandbox !== sandbox) return;
    if (why === null) this.forget(volume);
    else this.#write(volume, { state: "lost", why, sandbox });
  }

  /** Why a session that starts without variables has none any more; null when it had none. */
  whyLost(volume: string): string | null {
    const entry = this.#read(volume);
    if (entry === null) return null;
    return entry.state === "lost" ? entry.why : UNSEEN;
  }

  /** Why a session has no variables any more that it was not told of yet; also where it has a sandbox already. */
  untold(volume: string): string | null {
    const entry = this.#read(volume);
    return entry?.state === "lost" ? entry.why : null;
  }

  #has(volume: string, sandbox: string): boolean {
    const entry = this.#read(volume);
    return entry?.state === "awake" && entry.sandbox === sandbox;
  }

  #read(volume: string): Entry | null {
    const unwritten = this.#unwritten.get(volume);
    if (unwritten !== undefined) return unwritten;
    let text: string;
    try {
      text = readFileSync(this.#path(volume), "utf8");
    } catch {
      return null;
    }
    try {
      return Entry.parse(JSON.parse(text));
    } catch {
      // Cut short by the end of the machine.
      return { state: "lost", why: UNSEEN, sandbox: "" };
    }
  }

  #write(volume: string, entry: Entry): void {
    // No volume's name begins with a dot.
    const written = this.#path(`.${volume}`);
    try {
      writeFileSync(written, JSON.stringify(entry), { mode: 0o600 });
      renameSync(written, this.#path(volume));
      this.#unwritten.delete(volume);
    } catch {
      // A full disk, mostly: calls go on, and what is there from an earlier time must not be told.
      this.#unwritten.delete(volume);
      this.#unwritten.set(volume, entry);
      const [oldest = volume] = this.#unwritten.keys();
      if (this.#unwritten.size > MOST_UNWRITTEN) this.#unwritten.delete(oldest);
      rmSync(written, { force: true });
    }
  }

  #path(volume: string): string {
    return join(this.#directory, volume);
  }
}
