/**
 * The least that a hop takes with this runtime on this machine: the same call by way of a server that passes it on in plain HTTP and does
 * nothing else. Nobody is authenticated there, nothing is looked up, nothing is encrypted.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const SERVER = join(import.meta.dirname, "bare-hop-server.ts");

export class BareHop implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly baseUrl: string;

  private constructor(process: ChildProcess, port: number) {
    this.#process = process;
    this.baseUrl = `http://127.0.0.1:${port}`;
  }

  static async to(origin: string): Promise<BareHop> {
    const child = spawn(process.execPath, [SERVER, origin], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const [port] = await Promise.race([
      once(child, "message"),
      once(child, "exit").then(([code]) => Promise.reject(new Error(`the bare server ended with ${code}`))),
    ]);
    return new BareHop(child, Number(port));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.disconnect();
    await ended;
  }
}
