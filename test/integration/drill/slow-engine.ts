/** Stands between a launcher and the engine: slow, refusing, or away. Conversations with sandboxes go on as they are. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const SAID = JSON.stringify({ message: "refused by the drill" });
const REFUSAL = `HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: ${SAID.length}\r\nConnection: close\r\n\r\n${SAID}`;

export class SlowEngine {
  readonly path: string;
  /** So much later comes each answer. */
  lateMs = 0;
  /** Requests whose first line fits are refused, as by an engine that is out of order. */
  refused: RegExp | null = null;
  #server: Server | null = null;
  readonly #sockets = new Set<Socket>();

  constructor(path: string) {
    this.path = path;
  }

  async open(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect({ path: "/var/run/docker.sock", allowHalfOpen: true });
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      this.#ask(near, far);
      void this.#answer(far, near);
    });
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
    this.#server = server;
  }

  /** Each request of the launcher's has a connection of its own. */
  #ask(near: Socket, far: Socket): void {
    near.once("data", (first: Buffer) => {
      if (this.refused?.test(first.toString("latin1").split("\r\n", 1)[0] ?? "") === true) {
        near.end(REFUSAL, () => far.destroy());
        return;
      }
      far.write(first);
      near.pipe(far);
    });
  }

  async #answer(far: Socket, near: Socket): Promise<void> {
    try {
      for await (const chunk of far) {
        const head = String(chunk).slice(0, 12);
        const conversation = head === "HTTP/1.1 101";
        if (head.startsWith("HTTP/1.1") && !conversation && this.lateMs > 0) await delay(this.lateMs);
        near.write(chunk);
      }
      near.end();
    } catch {
      near.destroy();
    }
  }

  /** Cuts every connection; new ones find nobody. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}
