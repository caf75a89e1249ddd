/** Where other hosts of the fleet reach this one: the same application, by TLS, for calls that a host has signed. */
import { createServer, Server } from "node:https";
import { createAdaptorServer } from "@hono/node-server";
import type { Certificate } from "../fleet/hop/certificate.ts";
import { CONNECTION_LIMITS, guardConnections } from "./intake/connections.ts";

/** Longer than another host keeps an idle connection. */
const KEEP_ALIVE_MS = 60_000;
/** A caller who stalls is ended by the host that he is connected to; of a TLS connection only whole writes can be seen to move. */
const STALL_MS = 3_600_000;

type Fetch = (request: Request, env: Record<string, unknown>) => Response | Promise<Response>;

/** What marks a request that came in here; nothing that is sent can. */
export const FROM_A_HOST = Symbol("from a host of the fleet");

export function createHopServer(fetch: Fetch, { certPem, keyPem }: Certificate): Server {
  const server = createAdaptorServer({
    fetch: (request, env) => fetch(request, { ...env, [FROM_A_HOST]: true }),
    createServer,
    serverOptions: {
      cert: certPem,
      key: keyPem,
      minVersion: "TLSv1.3",
      keepAliveTimeout: KEEP_ALIVE_MS,
      noDelay: true,
    },
  });
  if (!(server instanceof Server)) throw new Error("the server is none of HTTPS");
  guardConnections(server, { ...CONNECTION_LIMITS, stallMs: STALL_MS });
  return server;
}

export function cameFromAHost(env: unknown): boolean {
  return typeof env === "object" && env !== null && FROM_A_HOST in env;
}
