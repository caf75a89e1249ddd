/** An engine that hangs: every call gives up at its deadline, and lets go of its connection. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DockerEngine, EngineAwayError } from "../../../gateway/launcher/engine/engine.ts";

const ID = "c".repeat(64);
const HALF = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";

let directory = "";
let server: Server;
let answer = "";
/** Resolves with each connection's end. */
let ends: Promise<void>[] = [];
let sockets: Socket[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "kernelyard-engine-"));
  ends = [];
  sockets = [];
  server = createServer((socket: Socket) => {
    sockets.push(socket);
    ends.push(new Promise((resolve) => socket.once("close", () => resolve())));
    socket.on("error", () => {});
    socket.once("data", () => {
      if (answer !== "") socket.write(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(join(directory, "docker.sock"), resolve));
});
afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

/** On a busy machine the server may see a connection only after its call gave up; but there was one. */
async function connectionsEnded(): Promise<void> {
  if (ends.length === 0) await once(server, "connection");
  await Promise.all(ends);
}

const calls: [string, (engine: DockerEngine) => Promise<unknown>][] = [
  ["info", (engine) => engine.version()],
  ["inspect image", (engine) => engine.imageId("image")],
  ["create container", (engine) => engine.createContainer("name", { Image: "image" })],
  ["attach", (engine) => engine.attach(ID)],
  ["start container", (engine) => engine.startContainer(ID)],
  ["inspect container", (engine) => engine.pid(ID)],
  ["remove container", (engine) => engine.removeContainer(ID)],
  ["list containers", (engine) => engine.listContainers("a=b")],
  ["create volume", (engine) => engine.createVolume("name", {}, {})],
  ["inspect volume", (engine) => engine.volume("name")],
  ["list volumes", (engine) => engine.listVolumes("a=b")],
  ["remove volume", (engine) => engine.removeVolume("name")],
  ["follow events", (engine) => engine.events("a=b", new AbortController().signal)],
];

describe("a silent engine", () => {
  beforeEach(() => {
    answer = "";
  });

  test.each(calls)("%s ends at its deadline with its connections", async (_what, call) => {
    const engine = new DockerEngine(join(directory, "docker.sock"), { callMs: 50, askMs: 50 });
    await expect(call(engine)).rejects.toThrow(EngineAwayError);
    await connectionsEnded();
  });
});

describe("an engine that stops in the middle of its answer", () => {
  beforeEach(() => {
    answer = HALF;
  });

  test.each(calls.filter(([what]) => what !== "follow events" && what !== "attach"))(
    "%s ends at its deadline with its connections",
    async (_what, call) => {
      const engine = new DockerEngine(join(directory, "docker.sock"), { callMs: 50, askMs: 50 });
      await expect(call(engine)).rejects.toThrow(EngineAwayError);
      await connectionsEnded();
    },
  );
});

test.each([
  ["at once", ["204 No Content"]],
  ["when the engine's own removal is under way", ["409 Conflict", "409 Conflict", "404 Not Found"]],
])("a container is removed %s", async (_what, statuses) => {
  const engine = new DockerEngine(join(directory, "docker.sock"));
  const left = [...statuses];
  server.on("connection", () => {
    answer = `HTTP/1.1 ${left.shift() ?? "500 Too Often"}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
  });
  await engine.removeContainer(ID);
  expect(left).toEqual([]);
});

test("a container that is listed but not known is left out once its removal said so", async () => {
  const engine = new DockerEngine(join(directory, "docker.sock"));
  const respond = (status: string, body: string) => {
    answer = `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
  };
  const listed = (...ids: string[]) => {
    const containers = ids.map((Id) => ({ Id, Labels: { a: "b" }, State: "dead", ImageID: "sha256:0" }));
    respond("200 OK", JSON.stringify(containers));
    return engine.listContainers("a=b");
  };
  const other = "d".repeat(64);
  expect(await listed(ID, other)).toHaveLength(2);
  respond("404 Not Found", JSON.stringify({ message: `No such container: ${ID}` }));
  await engine.removeContainer(ID);
  for (const _again of [1, 2]) expect(await listed(ID, other)).toMatchObject([{ id: other }]);
});

test("a stream of events outlives the deadline of its opening, and ends by its signal", async () => {
  answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  const following = new AbortController();
  // Long enough to open it on a machine that has no time.
  const engine = new DockerEngine(join(directory, "docker.sock"), { callMs: 2_000, askMs: 2_000 });
  const opened = await engine.events("a=b", following.signal);
  const events = opened[Symbol.asyncIterator]();
  // Asked later, so that with its deadline the opening's has passed as well.
  await expect(engine.version()).rejects.toThrow(EngineAwayError);
  const line = `${JSON.stringify({ Action: "destroy", Actor: { ID, Attributes: {} } })}\n`;
  sockets[0]?.write(`${line.length.toString(16)}\r\n${line}\r\n`);
  expect((await events.next()).value).toEqual({ type: "destroy", containerId: ID });
  following.abort();
  await expect(events.next()).rejects.toThrow();
  await connectionsEnded();
});
