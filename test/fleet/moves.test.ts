/** Sessions that go to another host with their files: real engine, real listeners; launchers and the bucket are stand-ins. */
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { MemoryObjects } from "../support/fleet/memory-objects.ts";
import { RedisServer } from "../support/redis/redis-server.ts";
import { reply } from "../unit/http/listening.ts";
import { ECHO, type Script } from "../unit/sessions/launcher-stand-in.ts";
import { type HostOptions, type HostUnderTest, newFleet, startHost } from "./fleet-under-test.ts";

let engine: RedisServer;
beforeAll(async () => {
  engine = await RedisServer.start();
});
afterAll(() => engine?.dispose());

/** A sandbox with one file, its session's: `write X` and `fill N` set it, `read` and `size` print it. It is its own archive. */
function withFile(host: HostUnderTest): Map<string, string> {
  const files = new Map<string, string>();
  const incoming = new Map<string, Buffer[]>();
  const script: Script = (message, body, sandbox) => {
    const session = JSON.stringify(sandbox.info.session);
    // Forgotten with its volume.
    if (!host.launcher.volumes.has(session)) files.delete(session);
    switch (message.msg_type) {
      case "execute_request": {
        const [word, text] = body.toString().split(" ");
        if (word === "hold") return;
        if (word === "write") files.set(session, text ?? "");
        if (word === "fill") files.set(session, "x".repeat(Number(text)));
        if (word === "read") sandbox.print(message.msg_id, files.get(session) ?? "nothing");
        if (word === "size") sandbox.print(message.msg_id, String(files.get(session)?.length));
        sandbox.reply(message.msg_id);
        break;
      }
      case "workspace_read_request": {
        const file = files.get(session) ?? "";
        const parent_id = message.msg_id;
        if (message.content.unless === `stamp of ${file}`) {
          return sandbox.send({
            msg_type: "workspace_read_reply",
            parent_id,
            content: { status: "unchanged", stamp: `stamp of ${file}` },
          });
        }
        if (file.length > message.content.max_bytes) {
          return sandbox.send({
            msg_type: "workspace_read_reply",
            parent_id,
            content: { status: "too_large", bytes: file.length },
          });
        }
        sandbox.send({ msg_type: "chunk", parent_id }, Buffer.from(file));
        sandbox.send({ msg_type: "chunk", parent_id, content: { last: true } });
        sandbox.send({
          msg_type: "workspace_read_reply",
          parent_id,
          content: { status: "ok", stamp: `stamp of ${file}`, bytes: file.length },
        });
        break;
      }
      case "workspace_write_request":
        if (sandbox.cells > 0) throw new Error("files are to be there before any code runs");
        incoming.set(message.msg_id, []);
        break;
      case "chunk": {
        const pieces = incoming.get(message.parent_id);
        if (pieces === undefined) throw new Error("a chunk of nothing");
        pieces.push(body);
        if (message.content === undefined) break;
        const failed = message.content.aborted === true;
        if (!failed) files.set(session, Buffer.concat(pieces).toString());
        sandbox.send({
          msg_type: "workspace_write_reply",
          parent_id: message.parent_id,
          content: failed ? { status: "error", message: "the sender gave up" } : { status: "ok" },
        });
        break;
      }
      default:
        ECHO(message, body, sandbox);
    }
  };
  host.launcher.script = script;
  return files;
}

async function fleetOf(
  count: number,
  env: Record<string, string> = {},
  times: NonNullable<HostOptions["times"]> = {},
  its = engine,
) {
  const fleet = await newFleet(its);
  const bucket = new MemoryObjects();
  const hosts: HostUnderTest[] = [];
  for (let n = 0; n < count; n++) {
    const host = await startHost({ url: its.url, fleet, env, times, workspaces: bucket });
    withFile(host);
    hosts.push(host);
  }
  const [a, b] = hosts;
  if (a === undefined || b === undefined) throw new Error("no hosts");
  await expect.poll(() => hosts.every(({ gateway }) => gateway.fleet?.hosts.length === count)).toBe(true);
  /** The next gateway of a host that was stopped. */
  const again = (host: HostUnderTest) =>
    startHost({
      url: its.url,
      fleet,
      env,
      times,
      workspaces: bucket,
      launcher: host.launcher,
      id: host.id,
    });
  return { a, b, again, bucket, hosts };
}

/** A call that runs until it is let go. */
async function held(host: HostUnderTest, session: string) {
  const running = call(host, "hold", session);
  await expect.poll(() => host.launcher.live.some(({ executing }) => executing !== null)).toBe(true);
  const letGo = () => {
    for (const sandbox of host.launcher.live)
      if (sandbox.executing !== null) sandbox.reply(sandbox.executing);
    return running;
  };
  return { letGo };
}

async function call(host: HostUnderTest, code: string, session = "s") {
  const request = host.listening.begin("POST", "/run");
  request.end(JSON.stringify({ session_id: session, code }));
  const { body, status } = await reply(request);
  return { status, ...JSON.parse(body) };
}

const drained = (host: HostUnderTest, withinMs = 30_000) => host.gateway.fleet?.drain(withinMs);
const metric = async (host: HostUnderTest, text: string) =>
  expect(await host.gateway.scrape?.text()).toContain(text);

it("a drained host's sessions go on at another one, with their files, and are told so", async () => {
  const { a, b, bucket } = await fleetOf(2, { KERNELYARD_METRICS_PORT: "9464" });
  await call(a, "write one", "first");
  await call(a, "write two", "second");
  expect(await drained(a)).toEqual({ parked: 2, left: 0 });
  expect(a.launcher.live).toHaveLength(0);
  expect(a.launcher.volumes.size).toBe(0);
  expect(bucket.objects.size).toBe(2);
  // Asked at either host, the one that left among them.
  const first = await call(b, "read", "first");
  expect(first).toMatchObject({ stdout: "one", exit_code: 0 });
  expect(first.stderr).toContain(
    "it moved to another host: variables are lost, files are as they were last saved",
  );
  expect(await call(a, "read", "second")).toMatchObject({ stdout: "two" });
  expect(await call(b, "read", "second")).toMatchObject({ stdout: "two", stderr: "" });
  expect(a.launcher.created).toBe(2);
  await metric(a, 'kernelyard_fleet_sessions_total{outcome="parked"} 2');
  await metric(a, 'kernelyard_fleet_workspaces_total{outcome="saved"} 2');
  await metric(b, 'kernelyard_fleet_workspaces_total{outcome="restored"} 2');
  await metric(a, "kernelyard_fleet_member 0");
  // For whoever waits for it, and for a load balancer.
  const health = a.listening.begin("GET", "/health");
  health.end();
  expect(await reply(health)).toMatchObject({ status: 503, body: "Drained" });
});

it("a running call ends first, and one that comes meanwhile waits for the next host", async () => {
  const { a, b } = await fleetOf(2);
  await call(a, "write before");
  const running = call(a, "hold");
  await expect.poll(() => a.launcher.live.some(({ executing }) => executing !== null)).toBe(true);
  const draining = drained(a);
  await expect.poll(() => b.gateway.fleet?.hosts.find(({ id }) => id === a.id)?.state).toBe("draining");
  const next = call(a, "read");
  for (const sandbox of a.launcher.live) if (sandbox.executing !== null) sandbox.reply(sandbox.executing);
  expect((await running).status).toBe(200);
  expect(await draining).toEqual({ parked: 1, left: 0 });
  expect(await next).toMatchObject({ status: 200, stdout: "before" });
  expect(b.launcher.created).toBe(1);
});

it("an idle session's files are saved when they have changed, and outlive their host", async () => {
  const { a, b, bucket } = await fleetOf(2);
  await call(a, "write saved");
  await expect.poll(() => bucket.objects.size, { timeout: 20_000 }).toBe(1);
  const [object] = bucket.objects.keys();
  await a.die();
  const answer = await call(b, "read");
  expect(answer).toMatchObject({ stdout: "saved" });
  expect(answer.stderr).toContain("its host was lost: variables are lost, files are as they were last saved");
  // The next one is written before the former one goes.
  await call(b, "write newer");
  expect(await drained(b)).toEqual({ parked: 1, left: 0 });
  expect([...bucket.objects.keys()]).toHaveLength(1);
  expect([...bucket.objects.keys()]).not.toEqual([object]);
});

it("what did not change is not written again, and what is too large stays", async () => {
  const { a, b, bucket } = await fleetOf(2, { KERNELYARD_WORKSPACE_MAX_BYTES: "1m" });
  await call(a, "write small", "small");
  await call(a, `fill ${2 * 1024 * 1024}`, "large");
  expect(await drained(a)).toEqual({ parked: 2, left: 0 });
  expect(bucket.objects.size).toBe(1);
  const large = await call(b, "read", "large");
  expect(large.stdout).toBe("nothing");
  expect(large.stderr).toContain("it has another host now: variables and files are lost");
  expect(await call(b, "read", "small")).toMatchObject({ stdout: "small" });
});

it("a bucket that is away costs nobody a file: the host keeps its sessions, and who waits for one is told", async () => {
  const { a, b, bucket } = await fleetOf(2);
  await call(a, "write mine");
  bucket.away = true;
  expect(await drained(a, 2_500)).toEqual({ parked: 0, left: 1 });
  expect(await call(b, "read")).toMatchObject({ stdout: "mine", stderr: "" });
  bucket.away = false;
  expect(await drained(a)).toEqual({ parked: 1, left: 0 });
  bucket.away = true;
  await expect.poll(async () => (await call(b, "read")).error, { timeout: 20_000 }).toBe("fleet_unavailable");
  expect(b.launcher.volumes.size).toBe(0);
  bucket.away = false;
  expect(await call(b, "read")).toMatchObject({ stdout: "mine" });
});

it("an engine that lost its data after a save costs nobody a file", async () => {
  const own = await RedisServer.start();
  onTestFinished(() => own.dispose());
  const { a, b, bucket } = await fleetOf(2, {}, {}, own);
  await call(a, "write saved");
  await expect.poll(() => bucket.objects.size, { timeout: 20_000 }).toBe(1);
  const client = own.client();
  await client.flushall();
  await expect.poll(async () => (await client.keys("*:s:*")).length).toBe(1);
  client.disconnect();
  expect(await drained(a)).toEqual({ parked: 1, left: 0 });
  const answer = await call(b, "read");
  expect(answer).toMatchObject({ stdout: "saved" });
  expect(answer.stderr).toContain("it moved to another host");
});

it("an engine that lost its data and its owners with it: saved files come back, and it is told", async () => {
  const own = await RedisServer.start();
  onTestFinished(() => own.dispose());
  const { a, b, bucket } = await fleetOf(2, {}, {}, own);
  await call(a, "write saved");
  await expect.poll(() => bucket.objects.size, { timeout: 20_000 }).toBe(1);
  await a.die();
  const client = own.client();
  await client.flushall();
  client.disconnect();
  const answer = await call(b, "read");
  expect(answer).toMatchObject({ stdout: "saved" });
  expect(answer.stderr).toContain("its host was lost: variables are lost, files are as they were last saved");
  expect(await call(b, "read", "another")).toMatchObject({ stdout: "nothing", stderr: "" });
});

it("a session that is forgotten has no files anywhere, wherever it was", async () => {
  const { a, b, bucket } = await fleetOf(2);
  await call(a, "write secret");
  await drained(a);
  expect(bucket.objects.size).toBe(1);
  const forget = b.listening.begin("DELETE", "/runtime-sessions/s");
  forget.end();
  expect((await reply(forget)).status).toBe(204);
  expect(bucket.objects.size).toBe(0);
  expect(await call(b, "read")).toMatchObject({ stdout: "nothing", stderr: "" });
  const again = b.listening.begin("DELETE", "/runtime-sessions/nobody-used-it");
  again.end();
  expect((await reply(again)).status).toBe(404);
});

it("a host that is stopped saves what is quiet, and then what its running calls left; its next gateway goes on with all of it", async () => {
  const { a, again, b, bucket } = await fleetOf(2, {}, { leaseMs: 30_000 });
  await call(a, "write one", "quiet");
  await call(a, "write before", "busy");
  const { letGo } = await held(a, "busy");
  const stopped = a.gateway.drain(30_000);
  await expect.poll(() => bucket.objects.size).toBe(1);
  expect((await letGo()).status).toBe(200);
  await stopped;
  expect(bucket.objects.size).toBe(2);
  await a.stop();
  const next = await again(a);
  expect(await call(next, "read", "quiet")).toMatchObject({ stdout: "one", stderr: "" });
  expect(await call(b, "read", "busy")).toMatchObject({ stdout: "before", stderr: "" });
  expect([a, b].map(({ launcher }) => launcher.created)).toEqual([2, 0]);
  await next.die();
});

it("a stop that lasts longer than a lease gives quiet sessions away, and keeps what would lose its files", async () => {
  const { a, again, b, bucket } = await fleetOf(2, { KERNELYARD_WORKSPACE_MAX_BYTES: "1m" });
  await call(a, "write one", "quiet");
  await call(a, `fill ${2 * 1024 * 1024}`, "large");
  await call(a, "write before", "busy");
  const { letGo } = await held(a, "busy");
  const stopped = a.gateway.drain(60_000);
  const moved = await call(b, "read", "quiet");
  expect(moved).toMatchObject({ status: 200, stdout: "one" });
  expect(moved.stderr).toContain("it moved to another host");
  expect((await letGo()).status).toBe(200);
  await stopped;
  expect(bucket.objects.size).toBe(2);
  await a.stop();
  const next = await again(a);
  expect(await call(next, "size", "large")).toMatchObject({ stdout: `${2 * 1024 * 1024}`, stderr: "" });
  expect(b.launcher.created).toBe(1);
  await next.die();
});

it("a stop while the bucket is away takes no longer, and loses nothing that is on the host", async () => {
  const { a, again, b, bucket } = await fleetOf(2);
  await call(a, "write mine");
  bucket.away = true;
  await a.gateway.drain(30_000);
  expect(a.gateway.logLines.join("")).toContain("last changes are on this host alone");
  await a.stop();
  const next = await again(a);
  expect(await call(b, "read")).toMatchObject({ stdout: "mine", stderr: "" });
  await next.die();
});

it("a host that is stopped while it is drained gives its sessions away all the same", async () => {
  const { a, b } = await fleetOf(2);
  await call(a, "write one", "quiet");
  const { letGo } = await held(a, "busy");
  const draining = drained(a);
  const stopped = a.gateway.drain(30_000);
  await letGo();
  expect(await draining).toEqual({ parked: 2, left: 0 });
  await stopped;
  expect(await call(b, "read", "quiet")).toMatchObject({ stdout: "one" });
  expect(a.launcher.live).toHaveLength(0);
});
