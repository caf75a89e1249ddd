/** The gateway's side of the launcher's API: HTTP over its unix socket, a new connection whenever the old one is gone. */
import { Agent, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import type { z } from "@hono/zod-openapi";
import {
  type CreateSandbox,
  type ForgetVariables,
  LauncherError,
  LauncherHealth,
  Owned,
  type OwnedQuery,
  Sandbox,
  SandboxList,
  type SessionKey,
  type SleepingSession,
  SleepingSessionList,
  Slept,
  UPGRADE_PROTOCOL,
} from "./launcher-api.ts";
import { LauncherFigures } from "./launcher-figures.ts";

/** Longest answer that is read, in bytes: a thousand sandboxes fit. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const QUERY_TIMEOUT_MS = 10_000;
/** Making a sandbox under load, on a slow disk, with a cold page cache. */
const CREATE_TIMEOUT_MS = 60_000;
/** Saving a large sandbox to a busy disk, after others that were asked for before. */
const SLEEP_TIMEOUT_MS = 180_000;

/** Nobody answers on the launcher's socket, or what answers is not a launcher. */
export class LauncherUnavailable extends Error {
  override readonly name = "LauncherUnavailable";
}

/** The launcher answered no; `code` is from its closed set. */
export class LauncherRefusal extends Error {
  override readonly name = "LauncherRefusal";
  readonly code: LauncherError["error"];
  readonly sandboxId: string | null;

  constructor(body: LauncherError) {
    super(body.message);
    this.code = body.error;
    this.sandboxId = body.sandbox_id ?? null;
  }
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

function readAnswer(response: IncomingMessage): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let total = 0;
    response.on("data", (chunk: Buffer) => {
      total += chunk.length;
      if (total > MAX_ANSWER_BYTES) {
        response.destroy(new LauncherUnavailable(`The launcher's answer exceeds ${MAX_ANSWER_BYTES} bytes`));
        return;
      }
      chunks.push(chunk);
    });
    response.on("end", () =>
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
    );
    response.on("error", reject);
  });
}

function parse<T extends z.ZodType>(schema: T, text: string): z.output<T> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new LauncherUnavailable("The launcher's answer is not of its API", { cause: error });
  }
}

export class LauncherClient {
  readonly socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64, maxFreeSockets: 4 });

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  async create(spec: CreateSandbox): Promise<Sandbox> {
    const answer = await this.#ask("POST", "/sandboxes", CREATE_TIMEOUT_MS, JSON.stringify(spec));
    if (answer.status !== 201) throw this.#refusal(answer);
    return parse(Sandbox, answer.body);
  }

  async list(): Promise<readonly Sandbox[]> {
    const answer = await this.#ask("GET", "/sandboxes", QUERY_TIMEOUT_MS);
    if (answer.status !== 200) throw this.#refusal(answer);
    return parse(SandboxList, answer.body).sandboxes;
  }

  /** `null`: the launcher knows no such sandbox (any more). */
  async inspect(id: string): Promise<Sandbox | null> {
    const answer = await this.#ask("GET", `/sandboxes/${id}`, QUERY_TIMEOUT_MS);
    if (answer.status === 404) return null;
    if (answer.status !== 200) throw this.#refusal(answer);
    return parse(Sandbox, answer.body);
  }

  /**
   * Resolves once the container is gone; also when it was gone before. `lost`: why a session's variables are gone with it,
   * for its next sandbox to tell; null where whom it concerns knows.
   */
  async remove(id: string, lost: string | null = null): Promise<void> {
    const query = lost === null ? "" : `?lost=${encodeURIComponent(lost)}`;
    const answer = await this.#ask("DELETE", `/sandboxes/${id}${query}`, CREATE_TIMEOUT_MS);
    if (answer.status !== 204 && answer.status !== 404) throw this.#refusal(answer);
  }

  /** Saves a session's sandbox, with which it ends; `busy`: it is as it was before. Lets go of its stream. */
  async sleep(id: string): Promise<Slept["state"]> {
    const answer = await this.#ask("POST", `/sandboxes/${id}/sleep`, SLEEP_TIMEOUT_MS);
    if (answer.status !== 200) throw this.#refusal(answer);
    return parse(Slept, answer.body).state;
  }

  /** Sessions asleep, as far as it is known whose they are. */
  async asleep(): Promise<readonly SleepingSession[]> {
    const answer = await this.#ask("GET", "/sessions/asleep", QUERY_TIMEOUT_MS);
    if (answer.status !== 200) throw this.#refusal(answer);
    return parse(SleepingSessionList, answer.body).sessions;
  }

  async health(): Promise<LauncherHealth> {
    const answer = await this.#ask("GET", "/health", QUERY_TIMEOUT_MS);
    if (answer.status !== 200) throw this.#refusal(answer);
    return parse(LauncherHealth, answer.body);
  }

  /** Removes a session's data. False: there was none. Refused with `session_exists` while a sandbox has it. */
  async forget(session: SessionKey): Promise<boolean> {
    const answer = await this.#ask("POST", "/sessions/forget", CREATE_TIMEOUT_MS, JSON.stringify(session));
    if (answer.status === 404) return false;
    if (answer.status !== 204) throw this.#refusal(answer);
    return true;
  }

  /** Sessions that have data on this host. */
  async owned(query: OwnedQuery): Promise<Owned> {
    const answer = await this.#ask("POST", "/sessions/owned", CREATE_TIMEOUT_MS, JSON.stringify(query));
    if (answer.status !== 200) throw this.#refusal(answer);
    return parse(Owned, answer.body);
  }

  /** Removes what was saved of a session asleep; its files stay. False: it does not sleep. `lost` as in `remove`. */
  async forgetVariables(session: SessionKey, lost: string): Promise<boolean> {
    const body: ForgetVariables = { session, lost };
    const path = "/sessions/forget-variables";
    const answer = await this.#ask("POST", path, CREATE_TIMEOUT_MS, JSON.stringify(body));
    if (answer.status === 404) return false;
    if (answer.status !== 204) throw this.#refusal(answer);
    return true;
  }

  async figures(): Promise<LauncherFigures> {
    const answer = await this.#ask("GET", "/figures", QUERY_TIMEOUT_MS);
    if (answer.status !== 200) throw this.#refusal(answer);
    return parse(LauncherFigures, answer.body);
  }

  /** The raw stream with the sandbox's supervisor; `head` are bytes that came with the answer. */
  attach(id: string): Promise<{ socket: Socket; head: Buffer }> {
    return new Promise((resolve, reject) => {
      const call = request({
        socketPath: this.socketPath,
        path: `/sandboxes/${id}/stream`,
        headers: { connection: "Upgrade", upgrade: UPGRADE_PROTOCOL },
        agent: false,
        timeout: QUERY_TIMEOUT_MS,
      });
      call.on("upgrade", (_response, socket, head) => {
        socket.setTimeout(0);
        // Until the caller listens; an error without a listener would end the process.
        socket.on("error", () => {});
        resolve({ socket, head });
      });
      call.on("response", (response) => {
        readAnswer(response).then((answer) => reject(this.#refusal(answer)), reject);
      });
      call.on("timeout", () => call.destroy(new LauncherUnavailable("The launcher does not answer")));
      call.on("error", (error) => reject(this.#unavailable(error)));
      call.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #refusal(answer: Answer): LauncherRefusal | LauncherUnavailable {
    try {
      return new LauncherRefusal(LauncherError.parse(JSON.parse(answer.body)));
    } catch {
      return new LauncherUnavailable(`The launcher answered ${answer.status} outside its API`);
    }
  }

  #unavailable(error: unknown): LauncherUnavailable {
    if (error instanceof LauncherUnavailable) return error;
    // The message goes to callers; paths of this host are in the cause, for the log.
    const code = error instanceof Error && "code" in error ? String(error.code) : "no connection";
    return new LauncherUnavailable(`The launcher cannot be reached (${code})`, { cause: error });
  }

  /**
   * A kept-alive connection that turns out dead costs no caller an error. Where one is, all may be: a launcher that was
   * restarted, or that lets idle ones go, closes them together. So the question is asked again over a new one.
   */
  #ask(
    method: string,
    path: string,
    timeoutMs: number,
    body?: string,
    agent: Agent | false = this.#agent,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request({
        socketPath: this.socketPath,
        path,
        method,
        agent,
        headers:
          body === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
      });
      const timer = setTimeout(
        () =>
          call.destroy(
            new LauncherUnavailable(`The launcher did not answer ${method} ${path} in ${timeoutMs} ms`),
          ),
        timeoutMs,
      );
      const settle = (action: () => void) => {
        clearTimeout(timer);
        action();
      };
      call.on("response", (response) => {
        readAnswer(response).then(
          (answer) => settle(() => resolve(answer)),
          (error) => settle(() => reject(this.#unavailable(error))),
        );
      });
      call.on("error", (error) => {
        const reset = "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE");
        settle(() => {
          if (call.reusedSocket && reset) resolve(this.#ask(method, path, timeoutMs, body, false));
          else reject(this.#unavailable(error));
        });
      });
      call.end(body);
    });
  }
}
