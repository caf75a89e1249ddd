/** A stop loses nothing that has begun: it waits for the last byte of the last response, and refuses what is new. */
import { Agent } from "node:http";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { DiskFileStore } from "../../../gateway/server/files/disk/store.ts";
import { uploadForm } from "../../support/files/app.ts";
import { DAY_MS, put, temporaryDirectory } from "../../support/files/store.ts";
import { ECHO, LauncherStandIn, type SandboxStandIn } from "../sessions/launcher-stand-in.ts";
import { startGateway, until } from "./gateway-under-test.ts";
import { answerTo, type Listening, listen, reply } from "./listening.ts";

let launcher: LauncherStandIn;
let directory: string;
let files: DiskFileStore;
let gateway: ReturnType<typeof startGateway>;
let server: Listening;

beforeEach(async () => {
  launcher = new LauncherStandIn();
  await launcher.start();
  directory = await temporaryDirectory();
  files = await DiskFileStore.open({ directory, ttlMs: DAY_MS });
  gateway = startGateway(launcher.socketPath, {}, files);
  server = await listen(gateway);
});

afterEach(async () => {
  await server.close();
  gateway.stop();
  await files.close();
  await launcher.dispose();
});

/** Begins a stop as SIGTERM does, up to the closing of the store. */
function stop() {
  const stopping = { over: false, done: Promise.resolve() };
  stopping.done = gateway.drain(60_000).then(async () => {
    stopping.over = true;
    await files.close();
  });
  return stopping;
}

const json = (call: ReturnType<Listening["begin"]>, body: unknown) => call.end(JSON.stringify(body));

describe("a stop", () => {
  it("keeps the files of a call that runs, and tells of them", async () => {
    const running = Promise.withResolvers<{ readonly id: string; readonly sandbox: SandboxStandIn }>();
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") running.resolve({ id: message.msg_id, sandbox });
    };
    const call = server.begin("POST", "/exec");
    json(call, { lang: "py", code: "save()" });
    const { id, sandbox } = await running.promise;
    const stopping = stop();
    const content = { path: "a.txt", size: 4, change: "created" } as const;
    sandbox.send({ msg_type: "file_output", msg_id: "f", parent_id: id, content });
    sandbox.send({ msg_type: "chunk", parent_id: "f", content: { last: true } }, Buffer.from("kept"));
    sandbox.reply(id);
    const { status, body } = await reply(call);
    expect(status).toBe(200);
    await stopping.done;
    const { session_id, files: told } = JSON.parse(body);
    const after = await DiskFileStore.open({ directory, ttlMs: DAY_MS });
    const found = await after.find(session_id, told[0].id);
    const stream = found && (await after.open(found.record));
    expect(stream && (await text(stream))).toBe("kept");
    await after.close();
  });

  it("waits for an upload, and keeps it", async () => {
    const { headers, body } = uploadForm({}, ["a.txt", "x".repeat(1000)]);
    const call = server.begin("POST", "/upload", { headers });
    call.write(body.subarray(0, 500));
    await until(() => gateway.inFlight.count === 1);
    const stopping = stop();
    call.end(body.subarray(500));
    const { status, body: said } = await reply(call);
    expect(status).toBe(200);
    await stopping.done;
    const { session_id, files: told } = JSON.parse(said);
    const after = await DiskFileStore.open({ directory, ttlMs: DAY_MS });
    expect((await after.find(session_id, told[0].fileId))?.record.size).toBe(1000);
    await after.close();
  });

  it("waits until a download is read to its end", async () => {
    const bytes = 32 * 1024 * 1024;
    const record = await put(files, Buffer.alloc(bytes, "x"), { owner: "default:shared" });
    const call = server.begin("GET", `/download/${record.storageSessionId}/${record.id}`);
    call.end();
    const response = await answerTo(call);
    response.pause();
    const stopping = stop();
    for (let turns = 0; turns < 100; turns++) await new Promise<void>((resolve) => setImmediate(resolve));
    expect(stopping.over).toBe(false);
    expect((await text(response)).length).toBe(bytes);
    await stopping.done;
  });

  it("refuses what is new, on kept connections too, and says that it is not healthy", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const first = server.begin("POST", "/run", { agent });
    json(first, { session_id: "s", code: "1" });
    expect((await reply(first)).status).toBe(200);
    await stop().done;
    for (const [method, path] of [
      ["POST", "/run"],
      ["POST", "/exec"],
      ["POST", "/upload"],
      ["GET", "/files/aaaaaaaaaaaaaaaaaaaaa"],
    ] as const) {
      const call = server.begin(method, path, { agent });
      if (method === "GET") call.end();
      else json(call, { session_id: "s", lang: "py", code: "1" });
      const { status, headers, body } = await reply(call);
      expect([status, headers.connection, JSON.parse(body).code]).toEqual([503, "close", "shutting_down"]);
    }
    const health = server.begin("GET", "/health");
    health.end();
    expect((await reply(health)).status).toBe(503);
    agent.destroy();
  });
});

describe("a program that waits for its tools when the service stops", () => {
  const askForTool = (sandbox: SandboxStandIn, parent: string) => {
    const calls = Buffer.from(JSON.stringify([{ id: "call_001", name: "f", input: {} }]));
    const content = { calls_bytes: calls.length };
    sandbox.send({ msg_type: "tool_call_request", msg_id: "t", parent_id: parent, content }, calls);
  };
  let program = "";
  beforeEach(() => {
    launcher.script = (message, body, sandbox) => {
      if (message.msg_type === "execute_request") {
        program = message.msg_id;
        askForTool(sandbox, program);
      } else if (message.msg_type === "tool_reply") {
        sandbox.print(program, body.toString());
        sandbox.reply(program);
      } else if (message.msg_type === "interrupt_request") {
        sandbox.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
        sandbox.reply(program, { status: "error", reason: "interrupted" });
      } else ECHO(message, body, sandbox);
    };
  });
  const start = async () => {
    const begun = await gateway.post("/exec/programmatic", { code: "f()", tools: [{ name: "f" }] });
    return z.object({ continuation_token: z.string() }).parse(await begun.json());
  };

  it("can be continued to its end, and the stop waits for it", async () => {
    const { continuation_token } = await start();
    const stopping = stop();
    // It would be over with the last request: nobody asks while the tools run.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stopping.over).toBe(false);
    const results = [{ call_id: "call_001", result: { n: 7 } }];
    const call = server.begin("POST", "/exec/programmatic");
    json(call, { continuation_token, tool_results: results });
    const { status, body } = await reply(call);
    expect([status, JSON.parse(body).status]).toEqual([200, "completed"]);
    expect(JSON.parse(body).stdout).toContain('"result":{"n":7}');
    await stopping.done;
  });

  it("is ended when nobody comes back in time; a new one is refused", async () => {
    await start();
    await gateway.drain(50);
    await until(() => launcher.live.length === 0);
    const refused = await gateway.post("/exec/programmatic", { code: "f()", tools: [{ name: "f" }] });
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ code: "shutting_down" });
  });
});
