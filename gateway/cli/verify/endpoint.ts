/** The endpoint under examination, called as LibreChat calls it. */
import { generateKeyPairSync } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { type Credentials, tokenOf } from "./credentials.ts";
import { short } from "./report.ts";

const CALL_WITHIN_MS = 120_000;
const LONGEST_ANSWER = 32 * 1024 * 1024;
/** A busy endpoint says when to come again. */
const ATTEMPTS = 4;
const LONGEST_WAIT_SECONDS = 30;

/** Two users of LibreChat's, if it signs tokens; whoever has the API key, otherwise. */
export type Who = "user" | "other" | "nobody";

export interface Answer {
  readonly status: number;
  readonly text: string;
}

export const Reply = z.object({
  session_id: z.string().regex(/^[A-Za-z0-9_-]{21}$/),
  stdout: z.string(),
  stderr: z.string(),
  files: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      session_id: z.string().optional(),
      storage_session_id: z.string().optional(),
      inherited: z.boolean().optional(),
    }),
  ),
  status: z.string().nullish(),
  runtime_status: z.enum(["new", "reused"]).optional(),
});
export type Reply = z.infer<typeof Reply>;

const Refusal = z.object({ error: z.string().min(1), message: z.string().min(1) });
const Later = z.object({ retry_after_seconds: z.number() });

interface Request {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly who?: Who;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object | FormData;
}

export class Endpoint {
  /** Without `/v1`. */
  readonly base: string;
  /** Part of every name that the examination gives. */
  readonly run: string;
  readonly #credentials: Credentials;

  constructor(url: string, credentials: Credentials, run: string) {
    this.base = url.replace(/\/+$/, "").replace(/\/v1$/, "");
    this.#credentials = credentials;
    this.run = run;
  }

  /** Whether LibreChat's users can be told apart. */
  get hasUsers(): boolean {
    return this.#credentials.pair !== null;
  }

  async headers(who: Who): Promise<Readonly<Record<string, string>>> {
    const { apiKey, pair } = this.#credentials;
    if (who === "nobody") return {};
    if (pair !== null) return { authorization: `Bearer ${await tokenOf(pair, `${this.run}-${who}`)}` };
    return apiKey === null ? {} : { "x-api-key": apiKey };
  }

  /** Credentials that look right and are not, by what is wrong with them. */
  async forged(): Promise<ReadonlyArray<readonly [string, Readonly<Record<string, string>>]>> {
    const { pair } = this.#credentials;
    const wrongKey = ["an unknown API key", { "x-api-key": `ky_${"0".repeat(43)}` }] as const;
    if (pair === null) return [wrongKey];
    const stranger = generateKeyPairSync("ed25519").privateKey;
    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    const [, claims = ""] = (await tokenOf(pair, this.run)).split(".");
    const none = Buffer.from(JSON.stringify({ alg: "none", kid: pair.kid })).toString("base64url");
    return [
      wrongKey,
      ["a token of another pair", bearer(await tokenOf(pair, this.run, stranger))],
      ["a token without a signature", bearer(`${none}.${claims}.`)],
    ];
  }

  async call(path: string, request: Request = {}): Promise<Answer> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.#once(path, request);
      if (answer.status !== 429 || attempt === ATTEMPTS) return answer;
      const later = Later.safeParse(parsed(answer.text));
      const seconds = later.success ? later.data.retry_after_seconds : 1;
      await pause(Math.min(seconds, LONGEST_WAIT_SECONDS) * 1000);
    }
  }

  async #once(path: string, { method = "POST", who = "user", headers, body }: Request): Promise<Answer> {
    const form = body instanceof FormData;
    const response = await fetch(`${this.base}${path}`, {
      method,
      headers: {
        ...(body === undefined || form ? {} : { "content-type": "application/json" }),
        ...(headers ?? (await this.headers(who))),
      },
      ...(body === undefined ? {} : { body: form ? body : JSON.stringify(body) }),
      redirect: "manual",
      signal: AbortSignal.timeout(CALL_WITHIN_MS),
    });
    return { status: response.status, text: await bounded(response) };
  }

  /** The contract's reply; throws when it is none. */
  async exec(code: string, more: object = {}, who: Who = "user"): Promise<Reply> {
    const answer = await this.call("/v1/exec", { who, body: { lang: "py", code, ...more } });
    return readReply(answer, Reply, "POST /v1/exec");
  }

  /** What the examination stored is taken away again. */
  async forget(session: string, file: string): Promise<void> {
    await this.call(`/v1/files/${session}/${file}`, { method: "DELETE" });
  }

  async forgetOutputs(reply: Reply): Promise<void> {
    for (const file of reply.files) {
      if (file.inherited === true) continue;
      await this.forget(file.storage_session_id ?? file.session_id ?? reply.session_id, file.id);
    }
  }
}

async function bounded(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > LONGEST_ANSWER) throw new Error(`the answer has more than ${LONGEST_ANSWER} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export function readReply<T extends z.ZodType>(answer: Answer, schema: T, what: string): z.output<T> {
  if (answer.status !== 200) throw new Error(`${what} answers ${answer.status}: ${short(answer.text)}`);
  const reply = schema.safeParse(parsed(answer.text));
  if (reply.success) return reply.data;
  const [issue] = reply.error.issues;
  throw new Error(
    `${what}: ${issue?.path.join(".") || "the answer"} is not as in the contract: ${issue?.message}`,
  );
}

/** A refusal as the contract has it: a status of the caller's fault, a code, and words. */
export const isRefusal = (answer: Answer, statuses: readonly number[]): boolean =>
  statuses.includes(answer.status) && Refusal.safeParse(parsed(answer.text)).success;
