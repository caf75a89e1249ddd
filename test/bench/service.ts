/** A running stack as the rows call it: results that are checked, waits for what can be seen. */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { HealthDetail } from "../../gateway/server/http/routes/health.ts";
import { freePort } from "../support/free-port.ts";
import { type Stack, startStack } from "../support/stack.ts";
import { Client } from "./client.ts";

const Streams = z.object({ stdout: z.string(), stderr: z.string() });
const Made = z.object({
  stdout: z.string(),
  session_id: z.string(),
  files: z.array(z.object({ name: z.string() })),
});
const Stored = z.object({
  storage_session_id: z.string(),
  files: z.tuple([z.object({ fileId: z.string() })]),
});
const Restarted = z.object({ restarted: z.literal(true) });

export interface StoredFile {
  readonly id: string;
  readonly storage_session_id: string;
  readonly name: string;
}

/** The engine's volumes are named by their sessions, whoever's they are. */
export const newSession = (): string => `bench-${randomBytes(6).toString("hex")}`;

/** Other work of a sandbox that has just been made. */
const SETTLE_MS = 300;

export class Service {
  readonly stack: Stack;
  readonly #metricsPort: number;
  readonly #client: Client;

  private constructor(stack: Stack, metricsPort: number) {
    this.stack = stack;
    this.#metricsPort = metricsPort;
    this.#client = new Client(stack);
  }

  /** `env` beside that of a benchmark. */
  static async start(checkpoints: "ready" | "off", env: Record<string, string> = {}): Promise<Service> {
    const port = await freePort();
    const own = { KERNELYARD_RATE_LIMITS: "off", KERNELYARD_METRICS_PORT: String(port) };
    return new Service(await startStack({ checkpoints, env: { ...own, ...env } }), port);
  }

  /** A connection of its own: somebody else who calls at the same time. */
  connect(): Client {
    return new Client(this.stack);
  }

  /** Rejects unless the call printed exactly that. */
  run(session_id: string, code: string, stdout: string): Promise<void> {
    return this.#client.output("/run", { session_id, code }, stdout);
  }

  fresh(code: string, stdout: string, lang = "py"): Promise<void> {
    return this.#client.output("/v1/exec", { lang, code }, stdout);
  }

  /** Also that nothing is said on standard error. */
  async exec(body: object, stdout: string): Promise<void> {
    const answer = await this.#client.post("/v1/exec", body);
    const result = answer.status === 200 ? Streams.safeParse(JSON.parse(answer.text)) : null;
    if (result?.data?.stdout !== stdout || result.data.stderr !== "")
      throw new Error(`/v1/exec answered ${answer.status} ${answer.text}`);
  }

  /** The names of the files that the call has left. */
  async filesOf(body: object, stdout: string): Promise<readonly string[]> {
    const answer = await this.#client.post("/v1/exec", body);
    if (answer.status !== 200) throw new Error(`/v1/exec answered ${answer.status} ${answer.text}`);
    const made = Made.parse(JSON.parse(answer.text));
    if (made.stdout !== stdout) throw new Error(`/v1/exec answered ${answer.text}`);
    return made.files.map(({ name }) => name);
  }

  /** As far as a request comes that runs nothing: connection, key, body, its check, answer. */
  async refused(): Promise<void> {
    const answer = await this.#client.post("/run", { session_id: "bench" });
    if (answer.status !== 400) throw new Error(`/run without code answered ${answer.status} ${answer.text}`);
  }

  async restart(session: string): Promise<void> {
    const answer = await this.#client.post(`/v1/runtime-sessions/${session}/restart`, {});
    if (answer.status !== 200) throw new Error(`restart answered ${answer.status} ${answer.text}`);
    Restarted.parse(JSON.parse(answer.text));
  }

  async forget(session: string): Promise<void> {
    const response = await fetch(`${this.stack.baseUrl}/v1/runtime-sessions/${session}`, {
      method: "DELETE",
      headers: { "x-api-key": this.stack.apiKey },
    });
    if (!response.ok) throw new Error(`forgetting ${session} answered ${response.status}`);
    await response.text();
  }

  async upload(name: string, content: Buffer<ArrayBuffer>): Promise<StoredFile> {
    const form = new FormData();
    form.append("file", new Blob([content]), name);
    const response = await fetch(`${this.stack.baseUrl}/v1/upload`, {
      method: "POST",
      headers: { "x-api-key": this.stack.apiKey },
      body: form,
    });
    const { files, storage_session_id } = Stored.parse(await response.json());
    return { id: files[0].fileId, storage_session_id, name };
  }

  async health(): Promise<z.infer<typeof HealthDetail>> {
    const response = await fetch(`${this.stack.baseUrl}/health?detail`, {
      headers: { "x-api-key": this.stack.apiKey },
    });
    return HealthDetail.parse(await response.json());
  }

  async sleeping(): Promise<{ readonly sessions: number; readonly bytes: number }> {
    const { checkpoints } = await this.health();
    return { sessions: checkpoints?.sleeping ?? 0, bytes: checkpoints?.sleeping_bytes ?? 0 };
  }

  /** Resolves when every spare sandbox that is to be there is ready. */
  async poolIsFull(): Promise<void> {
    for (;;) {
      const response = await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`);
      const text = await response.text();
      const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
      if (value("kernelyard_pool_ready") >= value("kernelyard_pool_size")) break;
      await delay(50);
    }
    await delay(SETTLE_MS);
  }

  async stop(): Promise<void> {
    this.#client.close();
    await this.stack.stop();
  }
}
