/** Traces where a collector is set; without one nothing of OpenTelemetry is loaded. */
import type { Settings } from "../../common/settings/read.ts";
import type { OpenTracing } from "./tracing.ts";

/** Null: there is none. To be called before privileges are dropped: the code may be root's alone. */
export async function loadTracing({
  otlpEndpoint,
}: Pick<Settings, "otlpEndpoint">): Promise<OpenTracing | null> {
  if (otlpEndpoint === null) return null;
  const { OpenTelemetry } = await import("./opentelemetry.ts");
  return (log) => new OpenTelemetry(otlpEndpoint, log);
}
