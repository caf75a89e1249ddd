/** Requests, by route. */
import { METHODS } from "node:http";
import type { Answered } from "../http/context.ts";
import type { Metrics } from "./metrics.ts";

const KNOWN = new Set(METHODS);

export function countRequest(metrics: Metrics, { method, route, status, ms }: Answered): void {
  const labels = {
    method: KNOWN.has(method) ? method : "OTHER",
    path: route ?? "unmatched",
    status: String(status),
  };
  metrics.add("http_requests_total", labels);
  metrics.observe("http_request_duration_seconds", labels, ms / 1000);
}
