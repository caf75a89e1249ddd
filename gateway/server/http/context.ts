/** What every route shares: the application's parts, the request's variables, the shape of a route. */
import type { RouteConfig } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Logger } from "pino";
import type { Settings } from "../../common/settings/read.ts";
import type { AuditAction, Audited } from "../audit/entry.ts";
import type { AuditSink } from "../audit/log.ts";
import type { Authentication } from "../auth/authenticate.ts";
import type { OperatorKey } from "../auth/operator.ts";
import type { Principal } from "../auth/principal.ts";
import type { LimitedAction, RateLimiter } from "../auth/rate-limits.ts";
import type { JsonReader } from "../bounds/json-reader.ts";
import type { Hold, MemoryBudget } from "../bounds/memory.ts";
import type { Erasure } from "../erasure/erasure.ts";
import type { Executor } from "../execution/call.ts";
import type { HealthMonitor } from "../execution/canary.ts";
import type { Programs } from "../execution/programs/programs.ts";
import type { ProgramReply } from "../execution/programs/run-program.ts";
import type { FileStore } from "../files/store.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Hop } from "../fleet/hop/token.ts";
import type { OwnedSessions } from "../sessions/owned.ts";
import type { Tracing } from "../tracing/tracing.ts";
import type { Usage } from "../usage/usage.ts";
import type { InFlight } from "./in-flight.ts";

/** Requests are limited per principal and kind of work. */
export type Bucket = LimitedAction;

/** A request whose response is out, or whose connection is gone. */
export interface Answered {
  readonly method: string;
  /** The route's template; null: there is no such route. */
  readonly route: string | null;
  readonly status: number;
  readonly ms: number;
}

export interface AppDeps {
  readonly settings: Settings;
  readonly authentication: Authentication;
  /** `null`: no limits. */
  readonly rateLimiter: RateLimiter | null;
  readonly executor: Executor;
  readonly sessions: Pick<OwnedSessions, "list" | "find" | "findOrRemember">;
  readonly health: HealthMonitor;
  readonly files: FileStore;
  readonly programs: Programs<ProgramReply>;
  readonly json: JsonReader;
  /** What requests may hold together. */
  readonly memory: MemoryBudget;
  readonly inFlight: InFlight;
  readonly erasure: Erasure;
  /** Null: nobody is one. */
  readonly operatorKey: OperatorKey | null;
  /** Null: this host is alone. */
  readonly fleet: Fleet | null;
  /** Null: there is no audit log. */
  readonly audit: AuditSink | null;
  readonly usage: Pick<Usage, "add" | "of" | "tenants">;
  /** Digest of the image that new sandboxes have; null while it is not known. */
  readonly image: () => string | null;
  /** Null: nobody counts. */
  readonly onAnswered: ((request: Answered) => void) | null;
  /** Null: there are no traces. */
  readonly tracing: Pick<Tracing, "middleware" | "traceparent"> | null;
  readonly log: Logger;
}

export interface AppEnv {
  Variables: {
    requestId: string;
    /** Template of the route that serves it; null until one does. */
    route: string | null;
    principal: Principal;
    /** What the host says that forwarded this call; undefined: it comes from a caller. */
    hop: Hop | undefined;
    /** The body as it came, where it may have to be forwarded. */
    body: Uint8Array | undefined;
    /** Resolves when the response is out, or nobody is there to read it. */
    ended: Promise<void>;
    /** What its route is in the audit log; null: nothing. */
    action: AuditAction | null;
    audited: Audited | undefined;
    /** Aborted when its caller hangs up, and with `Erased` when its principal is erased. */
    gone: AbortController;
    /** Set where the response begins before its content is there: settles when it is. */
    answered: Promise<void> | undefined;
    /** Status that a response should have had which broke off after another one was out. */
    brokenOff: number | undefined;
    /** This request's part of the memory that requests hold. */
    memory: { readonly hold: Hold; readonly budget: MemoryBudget };
    /** Facts for the request's log line: identifiers, sizes, outcomes. Never content. */
    facts: Record<string, string | number | boolean | null>;
  };
}

export type AppContext = Context<AppEnv>;

export interface Route {
  readonly spec: RouteConfig;
  /** `open`: answered without authentication. `operator`: with the operator's key alone, and only where there is one. Otherwise: authenticated, and counted in this bucket. */
  readonly access: "open" | "operator" | Bucket;
  /** Counted as a request alone; the bucket's own window is not for it, or the route counts itself. */
  readonly uncounted?: true;
  /** Serves on while the service stops: what began before goes on through it. */
  readonly continues?: true;
  /** What it is in the audit log. */
  readonly audit?: AuditAction;
  /** A file streams through it: what that holds in memory. */
  readonly streams?: true;
  handle(c: AppContext): Response | Promise<Response>;
}

/** Aborted when the caller hangs up, and when they are erased. */
export function callSignal(c: AppContext): AbortSignal {
  return c.get("gone").signal;
}
