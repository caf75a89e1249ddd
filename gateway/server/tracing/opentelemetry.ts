/**
 * OpenTelemetry's own SDK, to a collector over OTLP/HTTP. Spans say what the log says: routes, outcomes, times; no ids of files and
 * sessions, no content. What waits for a collector that does not answer is bounded, and no request waits for it.
 */
import { hostname } from "node:os";
import { httpInstrumentationMiddleware } from "@hono/otel";
import {
  context,
  DiagLogLevel,
  diag,
  propagation,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  type Span,
  type SpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import type { MiddlewareHandler } from "hono";
import type { Logger } from "pino";
import type { Executor } from "../execution/call.ts";
import type { Tracing } from "./tracing.ts";

/** Spans that wait; further ones are dropped. */
const MOST_WAITING = 2048;
const SENT_TOGETHER = 512;
const SENT_EVERY_MS = 2_000;
const SENT_WITHIN_MS = 5_000;

/** The path of a request names sessions and files, its query users: the route's template is enough. */
class WithoutIds implements SpanProcessor {
  onStart(span: Span): void {
    const url = span.attributes["url.full"];
    if (typeof url === "string" && URL.canParse(url)) span.setAttribute("url.full", new URL(url).origin);
  }
  onEnd(): void {}
  forceFlush(): Promise<void> {
    return Promise.resolve();
  }
  shutdown(): Promise<void> {
    return Promise.resolve();
  }
}

export class OpenTelemetry implements Tracing {
  readonly middleware: MiddlewareHandler;
  readonly #provider: BasicTracerProvider;
  readonly #tracer: Tracer;
  readonly #told: (problem: string) => void;

  constructor(endpoint: string, log: Logger) {
    const exporter = new OTLPTraceExporter({
      url: `${endpoint.replace(/\/+$/, "")}/v1/traces`,
      timeoutMillis: SENT_WITHIN_MS,
    });
    this.#provider = new BasicTracerProvider({
      resource: resourceFromAttributes({ "service.name": "kernelyard", "host.name": hostname() }),
      spanProcessors: [
        new WithoutIds(),
        new BatchSpanProcessor(exporter, {
          maxQueueSize: MOST_WAITING,
          maxExportBatchSize: SENT_TOGETHER,
          scheduledDelayMillis: SENT_EVERY_MS,
          exportTimeoutMillis: SENT_WITHIN_MS,
        }),
      ],
    });
    const told = (message: string) => log.warn({ problem: message.slice(0, 500) }, "traces");
    this.#told = told;
    const silent = () => {};
    diag.setLogger(
      { error: told, warn: told, info: silent, debug: silent, verbose: silent },
      { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
    );
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    this.#tracer = this.#provider.getTracer("kernelyard");
    this.middleware = httpInstrumentationMiddleware({
      tracer: this.#tracer,
      captureActiveRequests: false,
      spanNameFactory: (c) => `${c.req.method} ${c.get("route") ?? "no such route"}`,
    });
  }

  traceparent(): string | null {
    const carrier: { traceparent?: string } = {};
    propagation.inject(context.active(), carrier);
    return carrier.traceparent ?? null;
  }

  watch(executor: Executor): Executor {
    return {
      languages: () => executor.languages(),
      execute: (call) =>
        this.#tracer.startActiveSpan("execute", async (span) => {
          span.setAttributes({ "kernelyard.language": call.language, "kernelyard.kind": call.binding.kind });
          try {
            const outcome = await executor.execute(call);
            span.setAttribute("kernelyard.outcome", outcome.kind);
            if (outcome.kind === "finished") {
              span.setAttributes({
                "kernelyard.reason": outcome.reason ?? "",
                "kernelyard.kernel": outcome.kernel.status,
                "kernelyard.waited_ms": outcome.kernel.waitedMs,
                "kernelyard.code_ms": outcome.wallTimeMs,
              });
            } else span.setStatus({ code: SpanStatusCode.ERROR });
            return outcome;
          } catch (error) {
            span.setStatus({ code: SpanStatusCode.ERROR });
            throw error;
          } finally {
            span.end();
          }
        }),
    };
  }

  async close(): Promise<void> {
    await this.#provider.shutdown().catch((error: unknown) => this.#told(String(error)));
    context.disable();
    propagation.disable();
    trace.disable();
    diag.disable();
  }
}
