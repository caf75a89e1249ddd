/** Which kernel serves which session. The launcher's labels are the truth; this is a cache with a queue per session. */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import { DEFAULT_TENANT, type Sandbox, type SessionKey } from "../../common/protocol/launcher-api.ts";
import { type Principal, principalKey } from "../auth/principal.ts";
import type { KernelConnection } from "../kernel/connection.ts";
import { Queue } from "./queue.ts";
import type { Sandboxes } from "./sandboxes.ts";

/** Sessions without a kernel that are remembered, so that they can be told that they lost one. */
const REMEMBERED = 10_000;
const LONGEST_SWEEP_MS = 15_000;
const SHORTEST_SWEEP_MS = 250;

export type RuntimeSessionKey = Extract<SessionKey, { kind: "runtime" }>;

export interface Session {
  readonly key: SessionKey;
  readonly queue: Queue;
  connection: KernelConnection | null;
  /** Set while this session is known to have a sandbox, attached or not. */
  sandboxId: string | null;
  lastUsedAt: number;
  /** Code has run in the present kernel: there may be variables to lose. */
  hasState: boolean;
  /** Why earlier variables are gone, until someone is told. */
  lost: string | null;
}

export interface RegistryOptions {
  readonly sandboxes: Sandboxes;
  readonly idleMs: number;
  readonly queueLength: number;
  readonly log: Logger;
}

/** 21 characters of the runtime session's alphabet; 125 bits of the digest. */
function shortDigest(parts: readonly string[]): string {
  const digest = createHash("sha256").update(JSON.stringify(parts)).digest("base64url");
  return digest.replaceAll("_", "-").slice(0, 21);
}

/** LibreChat's runtime session: this caller's hint, and nobody else's. */
export function runtimeSessionKey(principal: Principal, hint: string): RuntimeSessionKey {
  return { kind: "runtime", digest: shortDigest(["hint", principalKey(principal), hint]) };
}

/** The specification's `session_id`. Keys and open networks own it by tenant; a token's user owns it alone. */
export function namedSessionKey(principal: Principal, name: string): SessionKey {
  if (principal.mode === "jwt") {
    return { kind: "runtime", digest: shortDigest(["name", principalKey(principal), name]) };
  }
  return {
    kind: "named",
    tenant: principal.mode === "none" ? DEFAULT_TENANT : principal.tenant,
    name,
  };
}

function keyText(key: SessionKey): string {
  return key.kind === "named" ? `n ${key.tenant} ${key.name}` : `r ${key.digest}`;
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #sessions = new Map<string, Session>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** Sessions with a kernel. */
  get live(): number {
    let count = 0;
    for (const session of this.#sessions.values()) if (session.sandboxId !== null) count += 1;
    return count;
  }

  /** Time until the next idle kernel ends, in milliseconds; null without kernels. */
  get nextIdleEndMs(): number | null {
    let earliest: number | null = null;
    for (const session of this.#sessions.values()) {
      if (session.sandboxId === null || !session.queue.idle) continue;
      const left = session.lastUsedAt + this.#options.idleMs - performance.now();
      if (earliest === null || left < earliest) earliest = left;
    }
    return earliest === null ? null : Math.max(0, earliest);
  }

  session(key: SessionKey): Session {
    const text = keyText(key);
    const known = this.#sessions.get(text);
    if (known !== undefined) return known;
    const session: Session = {
      key,
      queue: new Queue(this.#options.queueLength),
      connection: null,
      sandboxId: null,
      lastUsedAt: performance.now(),
      hasState: false,
      lost: null,
    };
    this.#sessions.set(text, session);
    this.#forgetOldest();
    return session;
  }

  knows(sandboxId: string): boolean {
    for (const session of this.#sessions.values()) if (session.sandboxId === sandboxId) return true;
    return false;
  }

  /** The session's kernel; to be called with its turn held. Rejects as `Sandboxes.openSession` does. */
  async kernel(
    session: Session,
    signal: AbortSignal,
  ): Promise<{ connection: KernelConnection; status: "new" | "reused" }> {
    if (session.connection?.usable === true) return { connection: session.connection, status: "reused" };
    const before = session.sandboxId;
    const opened = await this.#options.sandboxes.openSession(session.key, signal);
    const { connection } = opened;
    if (opened.status === "new" && session.hasState) {
      session.lost ??= await this.#whyGone(before);
    }
    session.hasState = opened.status === "reused" && (session.hasState || connection.executionCount > 0);
    this.#bind(session, connection);
    return opened;
  }

  /** The session's sandbox is no more, and why; its files are kept. */
  lose(session: Session, why: string | null): void {
    if (session.hasState && why !== null) session.lost = why;
    session.hasState = false;
    session.connection?.release();
    session.connection = null;
    session.sandboxId = null;
  }

  /** Attaches to a sandbox from before a restart, and ends a call that nobody waits for. */
  async adopt(sandbox: Sandbox & { session: SessionKey }): Promise<void> {
    const session = this.session(sandbox.session);
    if (session.sandboxId !== null || !session.queue.tryAcquire()) return;
    try {
      session.sandboxId = sandbox.id;
      session.hasState = sandbox.used;
      session.lastUsedAt = performance.now();
      await this.kernel(session, AbortSignal.timeout(60_000));
    } finally {
      session.queue.release();
    }
  }

  /** Ends idle kernels from now on. */
  start(): void {
    const every = Math.min(LONGEST_SWEEP_MS, Math.max(SHORTEST_SWEEP_MS, this.#options.idleMs / 4));
    this.#timer = setInterval(() => void this.#sweep(), every);
  }

  /** Lets go of the streams; the sandboxes stay for the next gateway. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const session of this.#sessions.values()) session.connection?.release();
  }

  #bind(session: Session, connection: KernelConnection): void {
    session.connection = connection;
    session.sandboxId = connection.sandboxId;
    void connection.ended.then((end) => {
      if (session.connection !== connection) return;
      session.connection = null;
      if (end.why === "violation") {
        this.lose(session, "its sandbox broke the protocol");
        void this.#options.sandboxes.remove(connection.sandboxId);
      }
    });
  }

  async #whyGone(sandboxId: string | null): Promise<string> {
    const unknown = "its sandbox ended";
    if (sandboxId === null) return unknown;
    try {
      const sandbox = await this.#options.sandboxes.launcher.inspect(sandboxId);
      return sandbox?.ended?.reason === "out_of_memory" ? "it ran out of memory" : unknown;
    } catch {
      return unknown;
    }
  }

  async #sweep(): Promise<void> {
    const now = performance.now();
    for (const session of this.#sessions.values()) {
      if (session.sandboxId === null || now - session.lastUsedAt < this.#options.idleMs) continue;
      if (!session.queue.tryAcquire()) continue;
      const { sandboxId } = session;
      try {
        this.lose(session, "it was not used for too long");
        await this.#options.sandboxes.remove(sandboxId);
        this.#options.log.info({ sandbox: sandboxId }, "idle kernel ended");
      } finally {
        session.queue.release();
      }
    }
  }

  #forgetOldest(): void {
    if (this.#sessions.size <= REMEMBERED) return;
    // Insertion order is close enough to age.
    for (const [text, session] of this.#sessions) {
      if (session.sandboxId !== null || !session.queue.idle) continue;
      this.#sessions.delete(text);
      if (this.#sessions.size <= REMEMBERED) return;
    }
  }
}
