/** Connections of the server: bounded in number, and those that stall are ended. */
import type { IncomingMessage, Server } from "node:http";
import { Server as SecureServer } from "node:https";
import type { Socket } from "node:net";

export interface ConnectionLimits {
  /** Beyond it the one that has been idle longest is closed; where none is idle, the new one. */
  readonly most: number;
  /** For a whole header. */
  readonly headerMs: number;
  /** A request whose body does not come on, or a response that is not read, for this long. */
  readonly stallMs: number;
  /** Requests of one connection at a time: nobody who keeps to the protocol sends the next before the reply. */
  readonly pipelined: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  most: 1024,
  headerMs: 20_000,
  stallMs: 60_000,
  pipelined: 8,
};

/** A body that comes on more slowly than this, in bytes for each time span of `stallMs`, does not come on. */
const SLOWEST_BYTES = 16 * 1024;

class Connection {
  readonly socket: Socket;
  readonly requests = new Set<IncomingMessage>();
  /** Somebody with credentials has been served here. */
  known = false;
  #read = { bytes: 0, at: performance.now() };
  #written = { bytes: 0, at: performance.now() };

  constructor(socket: Socket) {
    this.socket = socket;
  }

  /** Whether nothing has moved for `stallMs` where the other side would have to move. */
  stalls(now: number, stallMs: number): boolean {
    const { socket } = this;
    const sent = socket.bytesWritten - socket.writableLength;
    if (socket.writableLength === 0 || sent > this.#written.bytes) this.#written = { bytes: sent, at: now };
    // While this side does not read, nothing can come.
    const receiving = [...this.requests].some(
      (request) => !request.complete && request.readableFlowing === true,
    );
    const came = socket.bytesRead;
    if (!receiving || came - this.#read.bytes >= SLOWEST_BYTES) this.#read = { bytes: came, at: now };
    return now - this.#written.at > stallMs || now - this.#read.at > stallMs;
  }
}

/** To be called before the server listens. */
export function guardConnections(
  server: Server | SecureServer,
  limits: ConnectionLimits = CONNECTION_LIMITS,
): void {
  /** The one idle longest comes first. */
  const connections = new Map<Socket, Connection>();
  server.headersTimeout = limits.headerMs;

  const makeRoom = (): boolean => {
    const idle = [...connections.values()].filter(({ requests }) => requests.size === 0);
    const [given] = [...idle.filter(({ known }) => !known), ...idle];
    if (given === undefined) return false;
    connections.delete(given.socket);
    given.socket.destroy();
    return true;
  };

  // Of TLS the socket that requests come from, after its handshake, which has a limit of its own.
  server.on(server instanceof SecureServer ? "secureConnection" : "connection", (socket: Socket) => {
    if (connections.size >= limits.most && !makeRoom()) {
      socket.destroy();
      return;
    }
    connections.set(socket, new Connection(socket));
    socket.once("close", () => connections.delete(socket));
  });

  server.prependListener("request", (request, response) => {
    const { socket } = request;
    const connection = connections.get(socket);
    if (connection === undefined) return;
    connection.requests.add(request);
    if (connection.requests.size > limits.pipelined) socket.destroy();
    response.once("close", () => {
      connection.requests.delete(request);
      if (response.statusCode < 400) connection.known = true;
      if (!connections.delete(socket)) return;
      // Idle from now on: behind all others.
      connections.set(socket, connection);
    });
  });

  const watch = setInterval(() => {
    const now = performance.now();
    for (const connection of connections.values()) {
      if (connection.stalls(now, limits.stallMs)) connection.socket.destroy();
    }
  }, limits.stallMs / 6).unref();
  server.once("close", () => clearInterval(watch));
}
