/** Traces of requests and calls, whoever makes them. */
import type { MiddlewareHandler } from "hono";
import type { Logger } from "pino";
import type { Executor } from "../execution/call.ts";

export interface Tracing {
  /** A span for each request, below that of its caller. */
  readonly middleware: MiddlewareHandler;
  /** Of the request that is served now, as W3C's `traceparent` has it; null: none is. */
  traceparent(): string | null;
  /** A span for each call. */
  watch(executor: Executor): Executor;
  /** Resolves when what is known has been sent, or could not be. */
  close(): Promise<void>;
}

export type OpenTracing = (log: Logger) => Tracing;
