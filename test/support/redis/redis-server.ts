/** A real `redis-server` on loopback, with nothing on its disk, or what a test asks for. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { freePort } from "../free-port.ts";

const READY_MS = 30_000;

function program(): string {
  return execFileSync("bash", [join(import.meta.dirname, "redis-server.sh")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  }).trim();
}

export class RedisServer {
  readonly port: number;
  readonly #args: readonly string[];
  readonly #directory: string;
  #child: ChildProcess | null = null;

  private constructor(port: number, directory: string, args: readonly string[]) {
    this.port = port;
    this.#directory = directory;
    this.#args = args;
  }

  static async start(args: readonly string[] = []): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), mkdtempSync(join(tmpdir(), "ky-redis-")), args);
    await server.begin();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Again, on the same port; what it had is gone. */
  async begin(): Promise<void> {
    const fixed = [
      "--port",
      String(this.port),
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--dir",
      this.#directory,
    ];
    const child = spawn(program(), [...fixed, "--loglevel", "warning", ...this.#args], {
      // Whoever waits for the end of the tests' output would wait for a server that a failed test has left.
      stdio: "ignore",
    });
    this.#child = child;
    const before = performance.now() + READY_MS;
    while (!(await this.#answers())) {
      if (child.exitCode !== null || performance.now() > before)
        throw new Error("redis-server does not answer");
      await delay(20);
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** At once, as a kill -9 does. */
  async end(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    const closed = once(child, "exit");
    child.kill("SIGKILL");
    await closed;
  }

  async dispose(): Promise<void> {
    await this.end();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  client(): Redis {
    return new Redis(this.url, { maxRetriesPerRequest: 1 });
  }

  async #answers(): Promise<boolean> {
    const client = new Redis(this.url, { lazyConnect: true, retryStrategy: () => null });
    client.on("error", () => {});
    try {
      await client.connect();
      return (await client.ping()) === "PONG";
    } catch {
      return false;
    } finally {
      client.disconnect();
    }
  }
}
