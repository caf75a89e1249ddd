/** A gateway's process alone, without a launcher: it takes files, which its audit log notes. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { prepareDataDirectory } from "../../../gateway/host/data-directory.ts";
import { SERVICE_USER } from "../../../gateway/host/isolation.ts";
import { ROOT } from "../../support/documents.ts";
import { freePort } from "../../support/free-port.ts";

const KEY = "integration-test-key";

export class LoneGateway {
  readonly dataDir: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #ports: { readonly api: number; readonly metrics: number };
  readonly messages: string[] = [];
  #child: ChildProcess | null = null;

  private constructor(dataDir: string, environment: Record<string, string>, api: number, metrics: number) {
    this.dataDir = dataDir;
    this.#environment = environment;
    this.#ports = { api, metrics };
  }

  static async make(environment: Record<string, string>): Promise<LoneGateway> {
    const dataDir = mkdtempSync(join(tmpdir(), "ky-lone-"));
    chmodSync(dataDir, 0o755);
    const id = (flag: string) => Number(execFileSync("id", [flag, SERVICE_USER], { encoding: "utf8" }));
    prepareDataDirectory(dataDir, { uid: id("-u"), gid: id("-g") });
    return new LoneGateway(dataDir, environment, await freePort(), await freePort());
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, ["gateway/server/main.ts", "--user", SERVICE_USER], {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH,
        KERNELYARD_DATA_DIR: this.dataDir,
        KERNELYARD_API_KEYS: KEY,
        KERNELYARD_AUTH: "api-key",
        KERNELYARD_PORT: String(this.#ports.api),
        KERNELYARD_METRICS_PORT: String(this.#ports.metrics),
        ...this.#environment,
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`the gateway ended with ${code}`)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const { msg }: { msg: string } = JSON.parse(line);
        this.messages.push(msg);
        if (msg === "ready") resolve();
      });
    });
  }

  /** The status of an upload. */
  async upload(name: string): Promise<number> {
    const form = new FormData();
    form.append("file", new Blob(["content"]), name);
    const response = await fetch(`http://127.0.0.1:${this.#ports.api}/v1/upload`, {
      method: "POST",
      headers: { "x-api-key": KEY, "x-request-id": name },
      body: form,
    });
    await response.arrayBuffer();
    return response.status;
  }

  /** Null: the series is not there. */
  async metric(series: string): Promise<number | null> {
    const text = await (await fetch(`http://127.0.0.1:${this.#ports.metrics}/metrics`)).text();
    const line = text.split("\n").find((one) => one.startsWith(`${series} `));
    return line === undefined ? null : Number(line.slice(series.length + 1));
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  async dispose(): Promise<void> {
    await this.end("SIGKILL");
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
