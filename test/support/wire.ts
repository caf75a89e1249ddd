/** The way to an engine, a store or a host, which can be cut. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { freePort } from "./free-port.ts";
import { joined } from "./joined.ts";

export class Wire {
  readonly port: number;
  /** Bytes that came back over it. */
  passed = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut = false;
  #to: number;

  private constructor(server: Server, port: number, to: number) {
    this.#server = server;
    this.port = port;
    this.#to = to;
  }

  static async to(port: number): Promise<Wire> {
    const server = createServer();
    const own = await freePort();
    const wire = new Wire(server, own, port);
    server.on("connection", (near) => {
      if (wire.#cut) return void near.destroy();
      const far = connect(wire.#to, "127.0.0.1");
      far.on("data", (chunk: Buffer) => {
        wire.passed += chunk.length;
      });
      joined(near, far, wire.#sockets);
    });
    server.listen(own, "127.0.0.1");
    await once(server, "listening");
    return wire;
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** As when a machine loses its power: nothing is closed, and nobody answers. */
  freeze(): void {
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** What comes from now on goes there. */
  lead(port: number): void {
    this.#to = port;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#cut = false;
  }

  async close(): Promise<void> {
    this.cut();
    if (this.#server.listening) this.#server.close();
  }
}
