/** The launcher's API on its unix socket. */
import { chownSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import type { z } from "@hono/zod-openapi";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Logger } from "pino";
import {
  CreateSandbox,
  ForgetVariables,
  type LauncherError,
  OwnedQuery,
  SessionKey,
  UPGRADE_PROTOCOL,
} from "../common/protocol/launcher-api.ts";
import { LauncherFailure } from "./errors.ts";
import type { Launcher } from "./launcher.ts";

const MAX_BODY_BYTES = 64 * 1024;
/** Characters of a sentence for a person. */
const MAX_LOST = 300;
const SOCKET_UMASK = 0o117;
const STREAM_PATH = /^\/sandboxes\/([A-Za-z0-9_-]{21})\/stream$/;

const STATUS: Record<LauncherError["error"], ContentfulStatusCode> = {
  bad_request: 400,
  unknown_profile: 400,
  session_exists: 409,
  cannot_sleep: 409,
  not_found: 404,
  host_full: 429,
  storage_full: 507,
  engine_unavailable: 503,
  isolation_refused: 503,
  sandbox_failed: 503,
};

export function createApp(launcher: Launcher, log: Logger): Hono {
  const app = new Hono();
  app.onError((error, c) => {
    const answer = answerFor(error, log);
    return c.json(answer, STATUS[answer.error]);
  });
  app.notFound((c) => c.json(refusal("not_found", "no such route"), 404));
  app.get("/health", async (c) => c.json(await launcher.health()));
  app.get("/figures", async (c) => c.json(await launcher.figures()));
  app.get("/sandboxes", (c) => c.json({ sandboxes: launcher.list() }));
  app.get("/sessions/asleep", (c) => c.json({ sessions: launcher.asleep() }));
  app.post("/sandboxes", bodyLimit({ maxSize: MAX_BODY_BYTES }), async (c) => {
    return c.json(await launcher.create(await read(CreateSandbox, c)), 201);
  });
  app.post("/sessions/forget", bodyLimit({ maxSize: MAX_BODY_BYTES }), async (c) => {
    await launcher.forget(await read(SessionKey, c));
    return c.body(null, 204);
  });
  app.post("/sessions/owned", bodyLimit({ maxSize: MAX_BODY_BYTES }), async (c) => {
    return c.json(await launcher.owned(await read(OwnedQuery, c)));
  });
  app.post("/sessions/forget-variables", bodyLimit({ maxSize: MAX_BODY_BYTES }), async (c) => {
    await launcher.forgetVariables(await read(ForgetVariables, c));
    return c.body(null, 204);
  });
  app.get("/sandboxes/:id", async (c) => {
    const sandbox = await launcher.get(c.req.param("id"));
    if (sandbox === null) throw new LauncherFailure("not_found", `no sandbox ${c.req.param("id")}`);
    return c.json(sandbox);
  });
  app.get("/sandboxes/:id/stream", (c) =>
    c.json(refusal("bad_request", `this route needs Upgrade: ${UPGRADE_PROTOCOL}`), 400),
  );
  app.post("/sandboxes/:id/sleep", async (c) => c.json(await launcher.sleep(c.req.param("id"))));
  app.delete("/sandboxes/:id", async (c) => {
    await launcher.kill(c.req.param("id"), c.req.query("lost")?.slice(0, MAX_LOST) ?? null);
    return c.body(null, 204);
  });
  return app;
}

/** Throws `LauncherFailure` that names the field. */
async function read<T extends z.ZodType>(schema: T, c: Context): Promise<z.output<T>> {
  const body: unknown = await c.req.json().catch(() => undefined);
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "body" : issue.path.join(".");
  throw new LauncherFailure("bad_request", `${where}: ${issue?.message ?? "is not valid"}`);
}

/** Listens on `path`: mode 0660, group `group` where that exists. */
export async function serve(launcher: Launcher, path: string, group: string, log: Logger): Promise<Server> {
  const app = createApp(launcher, log);
  const server = createServer(getRequestListener(app.fetch));
  server.on("upgrade", (request, socket, head) => {
    // Before anything is awaited: a client that leaves now must not throw.
    const onEarlyError = () => socket.destroy();
    socket.on("error", onEarlyError);
    upgrade(launcher, request, socket, head).then(
      () => socket.off("error", onEarlyError),
      (error: unknown) => refuseUpgrade(socket, answerFor(error, log)),
    );
  });
  await removeStaleSocket(path);
  // The socket must never exist with wider permissions, not even between two calls.
  const umask = process.umask(SOCKET_UMASK);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, () => {
        server.off("error", reject);
        resolve();
      });
    });
  } finally {
    process.umask(umask);
  }
  const gid = groupId(group);
  if (gid === null) log.info({ group }, "no such group: the socket is its owner's group's");
  else chownSync(path, process.getuid?.() ?? 0, gid);
  return server;
}

async function upgrade(
  launcher: Launcher,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const id = STREAM_PATH.exec(request.url ?? "")?.[1];
  if (id === undefined || request.method !== "GET") throw new LauncherFailure("not_found", "no such stream");
  if (request.headers.upgrade !== UPGRADE_PROTOCOL) {
    throw new LauncherFailure("bad_request", `this route needs Upgrade: ${UPGRADE_PROTOCOL}`);
  }
  const relay = await launcher.relayOf(id);
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${UPGRADE_PROTOCOL}\r\n\r\n`,
  );
  relay.attach(socket, head);
}

function refuseUpgrade(socket: Duplex, answer: LauncherError): void {
  const body = JSON.stringify(answer);
  socket.end(
    `HTTP/1.1 ${STATUS[answer.error]} Refused\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function refusal(error: LauncherError["error"], message: string): LauncherError {
  return { error, message };
}

function answerFor(error: unknown, log: Logger): LauncherError {
  if (error instanceof LauncherFailure) {
    const { code, message, sandboxId } = error;
    return sandboxId === undefined
      ? refusal(code, message)
      : { ...refusal(code, message), sandbox_id: sandboxId };
  }
  log.error({ err: error }, "unexpected failure");
  return refusal("sandbox_failed", "unexpected failure; the launcher's log has the reason");
}

/** A socket that nobody listens on is the rest of a launcher that was killed. */
async function removeStaleSocket(path: string): Promise<void> {
  const listening = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (listening) {
    throw new Error(`another process listens on ${path}; stop it, or set KERNELYARD_LAUNCHER_SOCKET`);
  }
  rmSync(path, { force: true });
}

function groupId(name: string): number | null {
  let groups: string;
  try {
    groups = readFileSync("/etc/group", "utf8");
  } catch {
    return null;
  }
  for (const line of groups.split("\n")) {
    const [group, , gid] = line.split(":");
    if (group === name && gid !== undefined) return Number.parseInt(gid, 10);
  }
  return null;
}
