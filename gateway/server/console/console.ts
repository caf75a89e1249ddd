/** The console and its listener. */
import { Server } from "node:http";
import { createAdaptorServer } from "@hono/node-server";
import type { Settings } from "../../common/settings/read.ts";
import { OperatorKey } from "../auth/operator.ts";
import { CONNECTION_LIMITS, guardConnections } from "../http/intake/connections.ts";
import { Access } from "./access.ts";
import { createConsoleApp } from "./app.ts";
import type { ConsoleDeps } from "./deps.ts";
import { History } from "./history.ts";

/** A few people, each with a few tabs. */
const MOST_CONNECTIONS = 64;
const KEEP_ALIVE_MS = 60_000;

export class Console {
  readonly app: ReturnType<typeof createConsoleApp>;
  readonly #history: History;

  constructor(operatorKey: string, deps: ConsoleDeps) {
    this.#history = new History(() => deps.scrape.read());
    this.app = createConsoleApp({
      access: new Access(new OperatorKey(operatorKey)),
      history: this.#history,
      deps,
    });
  }

  start(): void {
    this.#history.start();
  }

  stop(): void {
    this.#history.stop();
  }
}

/** The operator's key where there is a console; null: there is none. */
export function consoleKey({
  consolePort,
  operatorKey,
}: Pick<Settings, "consolePort" | "operatorKey">): string | null {
  return consolePort === 0 ? null : operatorKey;
}

export function createConsoleServer({ app }: Console): Server {
  const server = createAdaptorServer({
    fetch: app.fetch,
    serverOptions: { keepAliveTimeout: KEEP_ALIVE_MS, noDelay: true },
  });
  if (!(server instanceof Server)) throw new Error("the server is none of HTTP/1.1");
  guardConnections(server, { ...CONNECTION_LIMITS, most: MOST_CONNECTIONS });
  return server;
}
