/** `GET /metrics` on a port of its own: whoever watches the service needs no key, and callers do not get there. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { Scrape } from "./scrape.ts";

/** A few Prometheus servers, and a person beside them. */
const MAX_CONNECTIONS = 32;
const REQUEST_WITHIN_MS = 5_000;
const IDLE_MS = 75_000;

export function createMetricsServer(scrape: Scrape, onError: (error: unknown) => void): Server {
  const server = createServer(
    { requestTimeout: REQUEST_WITHIN_MS, headersTimeout: REQUEST_WITHIN_MS, keepAliveTimeout: IDLE_MS },
    (request, response) => {
      const path = (request.url ?? "").split("?")[0];
      if (path !== "/metrics") return refuse(response, 404, "There is /metrics and nothing else.");
      if (request.method !== "GET" && request.method !== "HEAD") {
        return refuse(response, 405, "/metrics is read with GET.");
      }
      scrape.text().then(
        (text) => response.writeHead(200, { "Content-Type": scrape.contentType }).end(text),
        (error: unknown) => {
          onError(error);
          refuse(response, 500, "The metrics could not be read; the log says why.");
        },
      );
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" }).end(`${message}\n`);
}
