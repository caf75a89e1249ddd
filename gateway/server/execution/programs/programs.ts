/** All programs that run or wait for tools: found by token, cancelled by request id, bounded in number. */

import { newId } from "../../../common/ids.ts";
import {
  callerOf,
  isOf,
  type Principal,
  principalKey,
  type Subject,
  speaksForMany,
} from "../../auth/principal.ts";
import type { JsonReader } from "../../bounds/json-reader.ts";
import type { MemoryBudget } from "../../bounds/memory.ts";
import { MAX_PROGRAMS, MAX_PROGRAMS_PER_USER } from "./limits.ts";
import { Program, type ProgramStart, type Round } from "./program.ts";
import { RequestIds } from "./request-ids.ts";
import { decodeToken, encodeToken } from "./token.ts";
import type { ReceivedResult } from "./tool-results.ts";

/** What an HTTP request is to a program. */
export interface ProgramRequest {
  readonly principal: Principal;
  /** Aborted when the caller hangs up. */
  readonly signal: AbortSignal;
  /** `X-LibreChat-Code-Request-ID`. */
  readonly requestId: string | null;
}

export type ProgramAnswer<Reply> =
  | {
      readonly kind: "round";
      readonly round: Round<Reply>;
      readonly token: string;
      readonly sessionId: string;
    }
  | { readonly kind: "refused"; readonly status: 400 | 403 | 404 | 409; readonly error: string }
  | { readonly kind: "full"; readonly retryAfterSeconds: number };

export type CancelAnswer = "cancellation_requested" | "already_completed" | "forbidden";

export interface ProgramLimits {
  readonly total: number;
  readonly perUser: number;
}

export interface ProgramsOptions {
  readonly json: JsonReader;
  /** What programs ask and hear counts here. */
  readonly memory: MemoryBudget;
  readonly limits?: ProgramLimits;
  /** Of several hosts, this one. */
  readonly host?: string | null;
}

export const REUSED: { readonly kind: "refused"; readonly status: 409; readonly error: string } = {
  kind: "refused",
  status: 409,
  error: "This request id was used or cancelled before",
};
const LONGEST_RETRY_AFTER_S = 60;
const NO_MEMORY = { kind: "full", retryAfterSeconds: 2 } as const;

export class Programs<Reply> {
  readonly #options: ProgramsOptions;
  readonly #limits: ProgramLimits;
  readonly #programs = new Map<string, Program<Reply>>();
  readonly #requestIds = new RequestIds();
  #onGone = () => {};

  constructor(options: ProgramsOptions) {
    this.#options = options;
    this.#limits = options.limits ?? { total: MAX_PROGRAMS, perUser: MAX_PROGRAMS_PER_USER };
  }

  get size(): number {
    return this.#programs.size;
  }

  async start(request: ProgramRequest, start: ProgramStart<Reply>): Promise<ProgramAnswer<Reply>> {
    const caller = principalKey(request.principal);
    const full = this.#full(request.principal, caller);
    if (full !== null) return full;
    const id = newId();
    const { json, memory: budget } = this.#options;
    const memory = budget.take(0, callerOf(request.principal));
    if (memory === null) return NO_MEMORY;
    const onGone = () => {
      this.#programs.delete(id);
      this.#onGone();
    };
    const program = new Program<Reply>({ ...start, id, caller, json, memory, onGone });
    if (!this.#claim(request, program)) return REUSED;
    this.#programs.set(id, program);
    return this.#answer(program, program.start(request.signal));
  }

  async continue(
    request: ProgramRequest,
    token: string,
    results: readonly ReceivedResult[],
  ): Promise<ProgramAnswer<Reply>> {
    const named = decodeToken(token);
    if (named === null) return { kind: "refused", status: 400, error: "Invalid continuation_token" };
    const program = this.#programs.get(named.id);
    if (program === undefined) {
      return { kind: "refused", status: 404, error: "Execution not found or expired" };
    }
    if (program.caller !== principalKey(request.principal)) {
      return { kind: "refused", status: 403, error: "Forbidden" };
    }
    if (!this.#claim(request, program)) return REUSED;
    const continuation = program.continue(results, request.signal);
    switch (continuation.kind) {
      case "round":
        return this.#answer(program, continuation.round);
      case "full":
        return NO_MEMORY;
      case "refused":
        return continuation;
    }
  }

  /** A request of this id has come here, or was cancelled here before it came. */
  knows(requestId: string): boolean {
    return this.#requestIds.find(requestId) !== null;
  }

  /** Any request id of a program ends it, also while it waits: the client that aborted will not come back. */
  cancel(principal: Principal, requestId: string): CancelAnswer {
    const caller = principalKey(principal);
    const known = this.#requestIds.find(requestId);
    if (known === null) {
      this.#requestIds.cancelAhead(requestId, caller);
      return "cancellation_requested";
    }
    if (known.caller !== caller) return "forbidden";
    if (known.program === null) return "cancellation_requested";
    const program = this.#programs.get(known.program);
    if (program === undefined) return "already_completed";
    program.cancel();
    return "cancellation_requested";
  }

  /** Ends those of the subject, and forgets its request ids. */
  erase(subject: Subject): void {
    for (const program of this.#programs.values()) if (isOf(program.caller, subject)) program.cancel();
    this.#requestIds.forgetCallers((caller) => isOf(caller, subject));
  }

  /** The service stops: those that wait for their tools have `withinMs` to be continued, then they are ended. */
  async drain(withinMs: number): Promise<void> {
    const late = setTimeout(() => this.close(), withinMs);
    while (this.#programs.size > 0) {
      const gone = Promise.withResolvers<void>();
      this.#onGone = gone.resolve;
      await gone.promise;
    }
    clearTimeout(late);
  }

  /** Ends them all. */
  close(): void {
    for (const program of this.#programs.values()) program.cancel();
  }

  async #answer(
    { id, sessionId }: Program<Reply>,
    round: Promise<Round<Reply>>,
  ): Promise<ProgramAnswer<Reply>> {
    return {
      kind: "round",
      round: await round,
      token: encodeToken(id, this.#options.host ?? null),
      sessionId,
    };
  }

  #claim(request: ProgramRequest, program: Program<Reply>): boolean {
    return (
      request.requestId === null || this.#requestIds.claim(request.requestId, program.caller, program.id)
    );
  }

  #full(principal: Principal, caller: string): { kind: "full"; retryAfterSeconds: number } | null {
    const all = [...this.#programs.values()];
    const own = all.filter((program) => program.caller === caller);
    const overShare = !speaksForMany(principal) && own.length >= this.#limits.perUser;
    if (!overShare && all.length < this.#limits.total) return null;
    const waiting = (overShare ? own : all).map(({ expiresAtMs }) => expiresAtMs ?? Number.POSITIVE_INFINITY);
    const seconds = Math.ceil((Math.min(...waiting) - Date.now()) / 1000);
    return { kind: "full", retryAfterSeconds: Math.min(LONGEST_RETRY_AFTER_S, Math.max(1, seconds)) };
  }
}
