/**
 * Everything of a user, or of a tenant, goes: what runs, what sleeps, what is stored, what is counted. Meanwhile nothing of
 * them begins, and what had begun has ended before anything is removed: so nothing comes after.
 */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { LauncherClient } from "../../common/protocol/launcher-client.ts";
import type { ErasedEntries } from "../audit/lines.ts";
import type { AuditSink, ErasedAudit } from "../audit/log.ts";
import {
  callerOf,
  isOf,
  type Principal,
  principalKey,
  type Subject,
  userPrincipal,
} from "../auth/principal.ts";
import type { RateLimiter } from "../auth/rate-limits.ts";
import { fileHolder, ownerKey, USER_CLAIM } from "../files/ownership.ts";
import type { ErasedFiles, FileStore, FilesOf } from "../files/store.ts";
import type { Registry } from "../sessions/registry.ts";
import { keyText, ownerOf, tenantDigest } from "../sessions/session-key.ts";
import type { Usage } from "../usage/usage.ts";

/** For calls to end that were told to. */
const ENDED_WITHIN_MS = 60_000;
const FORGOTTEN_WITHIN_MS = 60_000;

export interface Programs {
  erase(subject: Subject): void;
}

export interface ErasureParts {
  readonly registry: Pick<Registry, "drop" | "keysOf" | "session">;
  readonly launcher: Pick<LauncherClient, "owned">;
  readonly files: Pick<FileStore, "erase">;
  readonly programs: Programs;
  readonly rateLimiter: Pick<RateLimiter, "forget"> | null;
  readonly audit: Pick<AuditSink, "erase"> | null;
  readonly auditErased: ErasedEntries;
  readonly usage: Pick<Usage, "forget">;
  /** Told of a session that is gone. */
  readonly onForgotten: (key: SessionKey) => Promise<void>;
}

export interface ErasureReport {
  readonly calls: number;
  readonly sessions: number;
  readonly files: ErasedFiles;
  /** Null: there is no audit log. */
  readonly audit: ErasedAudit | null;
  /** Months of counts; they are a tenant's, and say nothing of a user. */
  readonly usageMonths: number;
  /** Sessions with data of which nobody knows whose they are. */
  readonly unknownSessions: number;
}

/** Calls of whom is erased did not end, or sessions could not be removed; asked again, it goes on. */
export class ErasureUnfinished extends Error {
  override readonly name = "ErasureUnfinished";
}

/** Why a request is aborted. */
export class Erased extends Error {
  override readonly name = "Erased";
}

interface Present {
  readonly key: string;
  readonly gone: AbortController;
  readonly ended: Promise<void>;
}

export class Erasure {
  readonly #parts: ErasureParts;
  readonly #present = new Set<Present>();
  readonly #closed = new Set<Subject>();

  constructor(parts: ErasureParts) {
    this.#parts = parts;
  }

  /** A request begins; `gone` is aborted with `Erased` when its principal is erased. False: that is happening now. */
  enter(principal: Principal, ended: Promise<void>, gone: AbortController): boolean {
    const key = principalKey(principal);
    for (const subject of this.#closed) if (isOf(key, subject)) return false;
    const present = { key, gone, ended };
    this.#present.add(present);
    void ended.then(() => this.#present.delete(present));
    return true;
  }

  /** Again and again the same: what is gone is not found. Throws `ErasureUnfinished`, or as the launcher's client and the stores do. */
  async erase(subject: Subject, shared: boolean): Promise<ErasureReport> {
    const { audit, auditErased, files, programs, rateLimiter, usage } = this.#parts;
    this.#closed.add(subject);
    try {
      const calls = await this.#endCalls(subject);
      programs.erase(subject);
      const { sessions, unknown } = await this.#forgetSessions(subject);
      const erased = await files.erase(filesOf(subject, shared));
      await rateLimiter?.forget(subject);
      const auditErasure = audit === null ? null : await audit.erase(subject, auditErased);
      const usageMonths = subject.user === null ? await usage.forget(subject.tenant) : 0;
      return {
        calls,
        sessions,
        files: erased,
        audit: auditErasure,
        usageMonths,
        unknownSessions: unknown,
      };
    } finally {
      this.#closed.delete(subject);
    }
  }

  async #endCalls(subject: Subject): Promise<number> {
    const present = [...this.#present].filter(({ key }) => isOf(key, subject));
    this.#parts.programs.erase(subject);
    for (const { gone } of present) gone.abort(new Erased("its user is being erased"));
    const late = new AbortController();
    const ended = Promise.all(present.map((call) => call.ended)).then(() => true);
    const inTime = await Promise.race([ended, delay(ENDED_WITHIN_MS, false, late)]);
    late.abort();
    if (inTime) return present.length;
    throw new ErasureUnfinished(`Calls of theirs did not end within ${ENDED_WITHIN_MS / 1000} s; ask again`);
  }

  async #forgetSessions(subject: Subject): Promise<{ sessions: number; unknown: number }> {
    const { launcher, onForgotten, registry } = this.#parts;
    const done = new Set<string>();
    let sessions = 0;
    for (;;) {
      const there = await launcher.owned(queryOf(subject));
      const keys = [...registry.keysOf(subject), ...there.sessions].filter((key) => !done.has(keyText(key)));
      if (keys.length === 0) return { sessions, unknown: there.unknown };
      for (const key of keys) {
        if (done.has(keyText(key))) continue;
        done.add(keyText(key));
        if (await registry.session(key).forget(AbortSignal.timeout(FORGOTTEN_WITHIN_MS))) sessions += 1;
        registry.drop(key);
        await onForgotten(key);
      }
    }
  }
}

function queryOf({ tenant, user }: Subject): Parameters<LauncherClient["owned"]>[0] {
  return user === null
    ? { of: "tenant", tenant: tenantDigest(tenant), name: tenant }
    : { of: "owner", owner: ownerOf(callerOf(userPrincipal(tenant, user))) };
}

export function filesOf({ tenant, user }: Subject, shared: boolean): FilesOf {
  if (user === null) {
    return { owner: { begins: `${encodeURIComponent(tenant)}:` }, holder: null, shared };
  }
  const owner = { is: ownerKey({ tenant, user }, USER_CLAIM) };
  return { owner, holder: fileHolder(userPrincipal(tenant, user)).key, shared };
}

/** For the audit log, which is to say that somebody was erased and not who: whoever knows the name can compare. */
export function subjectDigest({ tenant, user }: Subject): string {
  return createHash("sha256")
    .update(JSON.stringify([tenant, user]))
    .digest("hex");
}
