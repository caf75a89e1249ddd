/**
 * The least that a hop takes with this runtime on this machine: a server that answers as many bytes as a call has, asked directly and by
 * way of a server that only passes the request on by TLS. Nobody is authenticated, nothing is looked up, nothing runs.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Client } from "../client.ts";

const SERVER = join(import.meta.dirname, "bare-hop-server.ts");

class Server {
  readonly #process: ChildProcess;
  readonly port: number;

  private constructor(process: ChildProcess, port: number) {
    this.#process = process;
    this.port = port;
  }

  /** `passesOnTo`: the other one's port; without it the server answers. */
  static async start(passesOnTo?: number): Promise<Server> {
    const args = passesOnTo === undefined ? [] : [String(passesOnTo)];
    const child = spawn(process.execPath, [SERVER, ...args], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const [port] = await Promise.race([
      once(child, "message"),
      once(child, "exit").then(([code]) => Promise.reject(new Error(`a bare server ended with ${code}`))),
    ]);
    return new Server(child, Number(port));
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.disconnect();
    await ended;
  }
}

export class BareHop implements AsyncDisposable {
  readonly #servers: readonly Server[];
  readonly #clients: readonly [direct: Client, byWay: Client];

  private constructor(servers: readonly Server[], clients: readonly [Client, Client]) {
    this.#servers = servers;
    this.#clients = clients;
  }

  static async start(): Promise<BareHop> {
    // The one that answers does so in plain HTTP as well, on its port; what is passed on comes to the next one.
    const server = await Server.start();
    const proxy = await Server.start(server.port);
    const client = ({ port }: Server) => new Client({ baseUrl: `http://127.0.0.1:${port}`, apiKey: "none" });
    return new BareHop([proxy, server], [client(server), client(proxy)]);
  }

  direct(body: object): Promise<unknown> {
    return this.#clients[0].output("/run", body, "2\n");
  }

  byWay(body: object): Promise<unknown> {
    return this.#clients[1].output("/run", body, "2\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const server of this.#servers) await server.stop();
  }
}
