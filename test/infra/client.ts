/** Calls a deployed endpoint with nothing but the printed LibreChat environment. */
import { z } from "zod";
import { callTool, loadAgents, type ToolMessage } from "../support/librechat/clients.ts";
import { parseEnvironment, TokenSigner } from "../support/librechat/tokens.ts";

const ExecReply = z.object({
  session_id: z.string(),
  stdout: z.string(),
  stderr: z.string(),
  files: z
    .array(z.object({ id: z.string(), name: z.string(), storage_session_id: z.string().optional() }))
    .default([]),
});
export type ExecReply = z.infer<typeof ExecReply>;

const RunReply = z.object({ stdout: z.string(), stderr: z.string(), exit_code: z.number().nullable() });

const CALL_WITHIN_MS = 120_000;

export class DeployedClient {
  readonly #baseUrl: string;
  readonly #apiKey: string;
  readonly #signer: TokenSigner;

  constructor(librechatEnvironment: string) {
    const environment = parseEnvironment(librechatEnvironment);
    this.#baseUrl = environment.get("LIBRECHAT_CODE_BASEURL") ?? "";
    this.#apiKey = environment.get("LIBRECHAT_CODE_API_KEY") ?? "";
    this.#signer = TokenSigner.fromEnvironment(environment);
  }

  get origin(): string {
    return new URL(this.#baseUrl).origin;
  }

  async #post(url: string, headers: Record<string, string>, body: unknown): Promise<unknown> {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(CALL_WITHIN_MS),
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${url} answers ${response.status}: ${text.slice(0, 500)}`);
    return JSON.parse(text);
  }

  /** As LibreChat calls, with a token of the generated pair. */
  async exec(code: string, hint?: string): Promise<ExecReply> {
    const token = this.#signer.sign({ id: "user-1" });
    return ExecReply.parse(
      await this.#post(
        `${this.#baseUrl}/exec`,
        { authorization: `Bearer ${token}` },
        { lang: "py", code, ...(hint === undefined ? {} : { runtime_session_hint: hint }) },
      ),
    );
  }

  /** LibreChat's own code tool (@librechat/agents), in one conversation. */
  librechat(hint: string): (code: string) => Promise<ToolMessage> {
    const tool = loadAgents().createCodeExecutionTool({
      baseUrl: this.#baseUrl,
      authHeaders: async () => ({ Authorization: `Bearer ${this.#signer.sign({ id: "user-1" })}` }),
      statefulSessions: true,
      runtimeSessionHint: hint,
      executionProfile: "stateful",
    });
    return (code) => callTool(tool, "execute_code", { lang: "py", code });
  }

  /** The specification's own route, with the generated API key. */
  async run(session: string, code: string): Promise<string> {
    const reply = RunReply.parse(
      await this.#post(`${this.origin}/run`, { "x-api-key": this.#apiKey }, { session_id: session, code }),
    );
    if (reply.exit_code !== 0) throw new Error(`exit code ${reply.exit_code}: ${reply.stderr}`);
    return reply.stdout;
  }

  /** Until code has been executed there. */
  async untilHealthy(seconds: number): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    const healthy = () =>
      fetch(`${this.origin}/health`, { signal: AbortSignal.timeout(5_000) }).then(
        (response) => response.status === 200,
        () => false,
      );
    while (!(await healthy())) {
      if (Date.now() > deadline) throw new Error(`${this.origin} is not healthy within ${seconds} s`);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }

  async download(session: string, file: string): Promise<string> {
    const token = this.#signer.sign({ id: "user-1" });
    const response = await fetch(`${this.#baseUrl}/download/${session}/${file}`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(CALL_WITHIN_MS),
    });
    if (response.status !== 200) throw new Error(`download answers ${response.status}`);
    return response.text();
  }
}

/** Asks `/health` all the time and counts for how long nobody answers. */
export function watchDowntime(origin: string): { stop(): Promise<number> } {
  let running = true;
  let downMs = 0;
  const done = (async () => {
    while (running) {
      const begun = Date.now();
      const up = await fetch(`${origin}/health`, { signal: AbortSignal.timeout(2_000) }).then(
        (response) => response.status === 200,
        () => false,
      );
      await new Promise((resolve) => setTimeout(resolve, 50));
      if (!up) downMs += Date.now() - begun;
    }
  })();
  return {
    async stop() {
      running = false;
      await done;
      return downMs;
    },
  };
}
