/** The application with a real file store; who calls is said in a header, and an executor that each test scripts. */
import { pino } from "pino";
import { gatewayMemory } from "../../../gateway/common/gateway-memory.ts";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { createJsonReader } from "../../../gateway/server/assemble.ts";
import { Authentication } from "../../../gateway/server/auth/authenticate.ts";
import { ABSENT } from "../../../gateway/server/auth/authenticator.ts";
import type { Principal } from "../../../gateway/server/auth/principal.ts";
import type { RateLimiter } from "../../../gateway/server/auth/rate-limits.ts";
import { MemoryBudget } from "../../../gateway/server/bounds/memory.ts";
import { Erasure } from "../../../gateway/server/erasure/erasure.ts";
import type { CallOutcome, CallRequest, Executor } from "../../../gateway/server/execution/call.ts";
import { Programs } from "../../../gateway/server/execution/programs/programs.ts";
import type { ProgramReply } from "../../../gateway/server/execution/programs/run-program.ts";
import type { FileStore } from "../../../gateway/server/files/store.ts";
import { createApp } from "../../../gateway/server/http/app.ts";
import { InFlight } from "../../../gateway/server/http/in-flight.ts";
import { usageInMemory } from "../usage.ts";

const unexpected = (what: string) => (): never => {
  throw new Error(`this test did not expect ${what}`);
};

/** `user@tenant` is a verified user, `tenant` alone a key of that tenant. */
export function principalOf(name: string): Principal {
  const [user, tenant] = name.split("@");
  return tenant === undefined
    ? { mode: "api-key", tenant: name, subject: "-" }
    : { mode: "jwt", tenant, subject: user ?? "" };
}

export function filesApp(
  files: FileStore,
  env: Record<string, string> = {},
  execute: (call: CallRequest) => Promise<CallOutcome> = unexpected("a call"),
  rateLimiter: RateLimiter | null = null,
) {
  const settings = readSettings(env);
  const executor: Executor = { execute, languages: () => [] };
  const log: object[] = [];
  const usage = usageInMemory();
  const json = createJsonReader(settings);
  const memory = new MemoryBudget(gatewayMemory(settings.gatewayMemoryBytes).requestBytes);
  const app = createApp({
    fleet: null,
    settings,
    authentication: new Authentication(
      ["api-key"],
      [
        {
          authenticate(header) {
            const name = header("x-test-caller");
            return name === undefined ? ABSENT : { kind: "accepted", principal: principalOf(name) };
          },
        },
      ],
    ),
    rateLimiter,
    executor,
    health: { healthy: unexpected("a health check"), report: unexpected("a health report") },
    files,
    programs: new Programs<ProgramReply>({ json, memory }),
    json,
    memory,
    sessions: {
      list: unexpected("a list of sessions"),
      find: unexpected("a look for a session"),
      findOrRemember: unexpected("a look for a session"),
    },
    audit: null,
    usage,
    image: () => null,
    onAnswered: null,
    tracing: null,
    inFlight: new InFlight(),
    erasure: new Erasure({
      registry: { keysOf: () => [], session: unexpected("a session"), drop: unexpected("a session") },
      launcher: { owned: unexpected("the launcher") },
      files,
      programs: { erase: unexpected("programs") },
      rateLimiter: null,
      audit: null,
      auditErased: "anonymous",
      usage,
      onForgotten: unexpected("a fleet"),
    }),
    operatorKey: null,
    log: pino({}, { write: (line: string) => void log.push(JSON.parse(line)) }),
  });
  const as =
    (caller: string) =>
    (path: string, init: RequestInit = {}) =>
      app.request(path, { ...init, headers: { ...init.headers, "x-test-caller": caller } });
  return { app, as, log };
}

export type Caller = ReturnType<ReturnType<typeof filesApp>["as"]>;

/** Fields first and raw UTF-8 names, as LibreChat's form has them. */
export function uploadForm(
  fields: Record<string, string>,
  ...files: readonly (readonly [name: string, content: string | Buffer])[]
) {
  const boundary = "--------------------------000111222333";
  const block = (header: string, content: string | Buffer) =>
    Buffer.concat([
      Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; ${header}\r\n\r\n`),
      Buffer.from(content),
      Buffer.from("\r\n"),
    ]);
  const body = Buffer.concat([
    ...Object.entries(fields).map(([name, value]) => block(`name="${name}"`, value)),
    ...files.map(([name, content]) =>
      block(`name="file"; filename="${name.replaceAll('"', "%22")}"\r\nContent-Type: text/plain`, content),
    ),
    Buffer.from(`--${boundary}--\r\n`),
  ]);
  return { method: "POST", headers: { "content-type": `multipart/form-data; boundary=${boundary}` }, body };
}
