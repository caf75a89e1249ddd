/** Carries a call to the host that has its session, and says for certain whether that host can have begun it. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect, TLSSocket } from "node:tls";
import { buildConnector, Pool } from "undici";
import { type HopAnswer, HopCall } from "./call.ts";

const CONNECT_MS = 2_000;
/** Shorter than the other side keeps an idle connection: none is used that it is closing. */
const IDLE_MS = 15_000;
const CONNECTIONS = 256;
/** Of hosts that are gone, or have another certificate since they were started again. */
const UNUSED_POOL_MS = 120_000;

export interface Target {
  readonly host: string;
  /** `host:port`. */
  readonly addr: string;
  /** SHA-256 of its certificate, in hex. */
  readonly cert: string;
}

export interface HopRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** Names and values by turns. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | null;
  /** Aborted when the caller has hung up. */
  readonly signal: AbortSignal;
}

export type Forwarded =
  | ({ readonly kind: "answered" } & HopAnswer)
  /** It has not had all of it, so it has begun nothing. */
  | { readonly kind: "not_sent"; readonly reason: string }
  /** It may have begun, and nobody knows what came of it. */
  | { readonly kind: "lost"; readonly reason: string };

/** Failures of making a connection. */
const NEVER_CONNECTED = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
  "KY_WRONG_CERTIFICATE",
]);

class WrongCertificate extends Error {
  readonly code = "KY_WRONG_CERTIFICATE";
}

class HostGone extends Error {
  override readonly name = "HostGone";
}

/** Whoever answers there must have the key of this very certificate; names and dates in it mean nothing. */
function pinned(sha256: string): buildConnector.connector {
  // A session that is resumed would not show its certificate again.
  const connector = buildConnector({
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    allowH2: false,
    maxCachedSessions: 0,
    timeout: CONNECT_MS,
    keepAliveInitialDelay: 5_000,
  });
  return (options, callback) =>
    connector(options, (...[error, socket]) => {
      if (error !== null) return callback(error, null);
      const raw = socket instanceof TLSSocket ? socket.getPeerX509Certificate()?.raw : undefined;
      if (raw !== undefined && createHash("sha256").update(raw).digest("hex") === sha256)
        return callback(null, socket);
      socket.destroy();
      callback(
        new WrongCertificate(`${options.hostname} has another certificate than its record says`),
        null,
      );
    });
}

/** The client reads its parser from the disk when it first needs it; afterwards the program's files may be out of reach. */
export async function loadParser(): Promise<void> {
  const server = createServer((_, response) => response.end()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const pool = new Pool(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`);
  await (await pool.request({ method: "GET", path: "/" })).body.dump();
  await pool.destroy();
  server.close();
}

interface Calls {
  readonly pool: Pool;
  readonly addr: string;
  readonly host: string;
  readonly running: Set<HopCall>;
  usedAt: number;
}

export class HopClient {
  readonly #targets = new Map<string, Calls>();

  /** Never rejects, unless the caller has hung up: then with the signal's reason. */
  async forward(target: Target, { body, headers, method, path, signal }: HopRequest): Promise<Forwarded> {
    signal.throwIfAborted();
    const calls = this.#calls(target);
    const call = new HopCall(() => {
      calls.running.delete(call);
      signal.removeEventListener("abort", hangUp);
    });
    const hangUp = () => call.abort(signal.reason);
    signal.addEventListener("abort", hangUp);
    calls.running.add(call);
    // A call takes as long as its code does.
    const options = { method, path, headers: [...headers], body, headersTimeout: 0, bodyTimeout: 0 };
    try {
      calls.pool.dispatch(options, call);
      return { kind: "answered", ...(await call.answer) };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      const reason = error instanceof Error ? error.message || code : String(error);
      return { kind: !call.sent || NEVER_CONNECTED.has(code) ? "not_sent" : "lost", reason };
    }
  }

  /**
   * A machine that lost its power closes no connection: calls at hosts that are not among `alive` are given up when nothing
   * answers there any more. A host that is only cut off from the engine goes on with them.
   */
  async giveUpLost(alive: ReadonlySet<string>): Promise<void> {
    const doubtful = [...this.#targets.values()].filter(
      ({ host, running }) => running.size > 0 && !alive.has(host),
    );
    await Promise.all(
      doubtful.map(async ({ addr, running }) => {
        const asked = [...running];
        if (await answers(addr)) return;
        for (const call of asked) call.abort(new HostGone("its host does not answer any more"));
      }),
    );
    for (const [name, { pool, running, usedAt }] of this.#targets) {
      if (running.size > 0 || performance.now() - usedAt < UNUSED_POOL_MS) continue;
      this.#targets.delete(name);
      void pool.close();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#targets.values()].map(({ pool }) => pool.destroy()));
    this.#targets.clear();
  }

  #calls({ addr, cert, host }: Target): Calls {
    const name = `${addr} ${cert}`;
    let calls = this.#targets.get(name);
    if (calls === undefined) {
      const pool = new Pool(`https://${addr}`, {
        connect: pinned(cert),
        connections: CONNECTIONS,
        pipelining: 1,
        keepAliveTimeout: IDLE_MS,
        keepAliveMaxTimeout: IDLE_MS,
      });
      calls = { pool, addr, host, running: new Set(), usedAt: 0 };
      this.#targets.set(name, calls);
    }
    calls.usedAt = performance.now();
    return calls;
  }
}

/** Why another host cannot be reached, or is not the one of its record; null: it is. */
export function unreached({ addr, cert }: Pick<Target, "addr" | "cert">): Promise<string | null> {
  const { hostname, port } = new URL(`https://${addr}`);
  return new Promise((resolve) => {
    pinned(cert)(
      { hostname: hostname.replaceAll(/[[\]]/g, ""), port: port || "443", protocol: "https:" },
      (...[error, socket]) => {
        socket?.destroy();
        resolve(error === null ? null : error.message);
      },
    );
  });
}

/** Whether a process answers there: the machine's kernel alone would take a connection for one that stands still. */
function answers(addr: string): Promise<boolean> {
  const { hostname, port } = new URL(`https://${addr}`);
  return new Promise((resolve) => {
    const host = hostname.replaceAll(/[[\]]/g, "");
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false });
    const settle = (there: boolean) => {
      socket.destroy();
      resolve(there);
    };
    socket.setTimeout(CONNECT_MS, () => settle(false));
    socket.once("secureConnect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}
