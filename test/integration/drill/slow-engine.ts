/** Stands between a launcher and the engine. While it is slow, each answer comes late; conversations with sandboxes do not. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

export class SlowEngine {
  readonly path: string;
  lateMs = 0;
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
      near.pipe(far);
      void this.#answer(far, near);
    });
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
    this.#server = server;
  }

  async #answer(far: Socket, near: Socket): Promise<void> {
    let conversation = false;
    try {
      for await (const chunk of far) {
        conversation ||= String(chunk).startsWith("HTTP/1.1 101");
        if (!conversation && this.lateMs > 0) await delay(this.lateMs);
        near.write(chunk);
      }
      near.end();
    } catch {
      near.destroy();
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}
