/** Calls that tell of themselves while they run, and long ones that keep their connection; the launcher is a stand-in. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { newId } from "../../../gateway/common/ids.ts";
import { type FileStore, newRecords, type StagedCommit } from "../../../gateway/server/files/store.ts";
import { EventStream, WAITING_BYTES } from "../../../gateway/server/http/event-stream.ts";
import { DISPLAY_RULES, LARGEST_DISPLAY_BYTES } from "../../../gateway/server/kernel/display-capture.ts";
import { LauncherStandIn, type SandboxStandIn, type Script } from "../sessions/launcher-stand-in.ts";
import { NO_FILES, startGateway, until } from "./gateway-under-test.ts";
import { answerTo, type Listening, listen, reply } from "./listening.ts";

/** Takes files, and forgets what was in them. */
class KeptInMemory implements FileStore {
  readonly sizes: number[] = [];
  readonly discard = NO_FILES.discard;
  readonly find = NO_FILES.find;
  readonly list = NO_FILES.list;
  readonly open = NO_FILES.open;
  readonly link = NO_FILES.link;
  readonly remove = NO_FILES.remove;
  readonly erase = NO_FILES.erase;
  readonly usage = NO_FILES.usage;
  readonly sweep = NO_FILES.sweep;
  readonly close = NO_FILES.close;

  async stage(bytes: AsyncIterable<Uint8Array>) {
    let size = 0;
    for await (const piece of bytes) size += piece.length;
    this.sizes.push(size);
    return { id: newId(), size, etag: String(size) };
  }

  async commit(files: readonly StagedCommit[]) {
    return newRecords(files, 0);
  }
}

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;
let listening: Listening;

beforeEach(async () => {
  launcher = new LauncherStandIn();
  await launcher.start();
  gateway = startGateway(launcher.socketPath, {
    KERNELYARD_METRICS_PORT: "3113",
    KERNELYARD_KEEP_ALIVE_MS: "20",
  });
  listening = await listen(gateway);
  return async () => {
    await listening.close();
    gateway.stop();
    await launcher.dispose();
  };
});

/** Waits to be told what to do. */
const HELD: Script = (message, _body, sandbox) => {
  if (message.msg_type === "execute_request") sandbox.executing = message.msg_id;
  else if (message.msg_type === "interrupt_request" && sandbox.executing !== null) {
    sandbox.reply(sandbox.executing, { reason: "interrupted", exit_code: null, signal: "SIGINT" });
  } else throw new Error(`unexpected ${message.msg_type}`);
};

async function held(): Promise<{ sandbox: SandboxStandIn; call: string }> {
  await until(() => launcher.live.some(({ executing }) => executing !== null));
  const sandbox = launcher.live.find(({ executing }) => executing !== null);
  const call = sandbox?.executing;
  if (sandbox === undefined || call == null) throw new Error("no call runs");
  return { sandbox, call };
}

const BODY = { lang: "py", code: "1", runtime_session_hint: "h" };
function begin(path: string, body: object = BODY) {
  const request = listening.begin("POST", path);
  request.end(JSON.stringify(body));
  return request;
}

/** Events as they come, comments left out. */
async function* events(response: AsyncIterable<Buffer>) {
  let rest = "";
  for await (const chunk of response) {
    rest += chunk.toString();
    for (;;) {
      const end = rest.indexOf("\n\n");
      if (end < 0) break;
      const [, event, data] = /^event: (.*)\ndata: (.*)$/s.exec(rest.slice(0, end)) ?? [];
      rest = rest.slice(end + 2);
      if (event !== undefined && data !== undefined) yield { event, data: JSON.parse(data) };
    }
  }
}

const requests = async (path: string, status: number) => {
  const all = (await gateway.scrape?.text()) ?? "";
  const series = `http_requests_total{method="POST",path="${path}",status="${status}"}`;
  return Number(
    all
      .split("\n")
      .find((line) => line.startsWith(series))
      ?.slice(series.length) ?? 0,
  );
};

describe("POST /exec/stream", () => {
  it("tells what is printed while the call runs, and its reply at the end", async () => {
    launcher.script = HELD;
    const response = await answerTo(begin("/v1/exec/stream"));
    expect(response.statusCode).toBe(200);
    expect(response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    const heard = events(response);
    expect((await heard.next()).value).toEqual({ event: "running", data: {} });
    const { sandbox, call } = await held();
    sandbox.print(call, "one\n");
    // Heard before the call has ended, and a character that is cut comes whole.
    expect((await heard.next()).value).toEqual({ event: "stdout", data: { text: "one\n" } });
    sandbox.send(
      { msg_type: "stream", parent_id: call, content: { name: "stderr" } },
      Buffer.from([0xe6, 0x97]),
    );
    sandbox.send({ msg_type: "stream", parent_id: call, content: { name: "stderr" } }, Buffer.from([0xa5]));
    expect((await heard.next()).value).toEqual({ event: "stderr", data: { text: "" } });
    expect((await heard.next()).value).toEqual({ event: "stderr", data: { text: "日" } });
    sandbox.reply(call);
    const last = (await heard.next()).value;
    expect(last).toMatchObject({
      event: "result",
      data: { stdout: "one\n", stderr: "日", code: 0, status: null },
    });
    expect((await heard.next()).done).toBe(true);
    await until(() => gateway.inFlight.count === 0);
    expect(
      gateway.logLines.some((line) => line.includes('"path":"/exec/stream"') && line.includes("finished")),
    ).toBe(true);
    expect(await requests("/exec/stream", 200)).toBe(1);
  });

  /** A gateway that takes files, and a call that runs in it. */
  async function looking() {
    launcher.script = HELD;
    const store = new KeptInMemory();
    const other = startGateway(launcher.socketPath, {}, store);
    const there = await listen(other);
    onTestFinished(async () => {
      await there.close();
      other.stop();
    });
    const request = there.begin("POST", "/exec/stream");
    request.end(JSON.stringify(BODY));
    const heard = events(await answerTo(request));
    expect((await heard.next()).value).toMatchObject({ event: "running" });
    const { sandbox, call } = await held();
    const show = (path: string, bytes: Buffer) =>
      sandbox.send({ msg_type: "display_data", parent_id: call, content: { path } }, bytes);
    const leave = (path: string, bytes: Buffer) => {
      const id = `file-${path}`;
      sandbox.send({
        msg_type: "file_output",
        msg_id: id,
        parent_id: call,
        content: { path, size: bytes.length, change: "created" },
      });
      for (let at = 0; at < bytes.length; at += 65_536) {
        sandbox.send({ msg_type: "chunk", parent_id: id }, bytes.subarray(at, at + 65_536));
      }
      sandbox.send({ msg_type: "chunk", parent_id: id, content: { last: true } });
    };
    return { heard, store, sandbox, call, show, leave };
  }

  const display = (name: string, bytes: Buffer, media_type = "image/png") => ({
    event: "display",
    data: { name, media_type, data: bytes.toString("base64") },
  });

  it("shows a picture as the sandbox hands it over, before the reply; other files and large pictures are in the reply alone", async () => {
    const { heard, store, sandbox, call, leave } = await looking();
    const picture = randomBytes(90_000);
    leave("data.csv", Buffer.from("a,b"));
    leave("plot_1.png", picture);
    expect((await heard.next()).value).toEqual(display("plot_1.png", picture));
    leave("large.png", randomBytes(LARGEST_DISPLAY_BYTES + 1));
    sandbox.reply(call);
    const last = (await heard.next()).value;
    expect(last?.event).toBe("result");
    expect(last?.data.files.map(({ name }: { name: string }) => name)).toEqual([
      "data.csv",
      "plot_1.png",
      "large.png",
    ]);
    expect(store.sizes).toEqual([3, picture.length, LARGEST_DISPLAY_BYTES + 1]);
  });

  it("shows what the code shows while it runs, and not again when it is handed over as it was", async () => {
    const { heard, store, sandbox, call, leave, show } = await looking();
    const [first, second, changed, page] = [50, 60, 70, 80].map((size) => randomBytes(size)) as [
      Buffer,
      Buffer,
      Buffer,
      Buffer,
    ];
    expect(sandbox.received.findLast(({ msg_type }) => msg_type === "execute_request")).toMatchObject({
      content: { displays: DISPLAY_RULES },
    });
    show("plot_1.png", first);
    expect((await heard.next()).value).toEqual(display("plot_1.png", first));
    sandbox.print(call, "more work\n");
    expect((await heard.next()).value).toMatchObject({ event: "stdout" });
    show("plot_2.png", second);
    show("display_1.html", page);
    expect((await heard.next()).value).toEqual(display("plot_2.png", second));
    expect((await heard.next()).value).toEqual(display("display_1.html", page, "text/html"));
    // Its code drew the second one anew.
    leave("plot_1.png", first);
    leave("plot_2.png", changed);
    leave("display_1.html", page);
    sandbox.reply(call);
    expect((await heard.next()).value).toEqual(display("plot_2.png", changed));
    const last = (await heard.next()).value;
    expect(last?.data.files.map(({ name }: { name: string }) => name)).toEqual([
      "plot_1.png",
      "plot_2.png",
      "display_1.html",
    ]);
    expect(store.sizes).toEqual([50, 70, 80]);
  });

  it.each([
    ["one that is too large", [LARGEST_DISPLAY_BYTES + 1]],
    ["too many", Array<number>(DISPLAY_RULES.max_files + 1).fill(1)],
    ["too much", Array<number>(44).fill(LARGEST_DISPLAY_BYTES)],
  ])("does not believe a sandbox that shows %s", async (_, sizes) => {
    const { heard, sandbox, show } = await looking();
    for (const size of sizes) show("plot_1.png", randomBytes(size));
    await until(() => sandbox.socket?.destroyed !== false || sandbox.ended !== null);
    let last: { event: string; data: { reason?: string } } | undefined;
    for await (const event of heard) last = event;
    expect(last).toMatchObject({ event: "result", data: { signal: "SIGKILL" } });
  });

  it("asks for nothing of that where nobody looks on, and believes no sandbox that shows it", async () => {
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type !== "execute_request") throw new Error(`unexpected ${message.msg_type}`);
      expect(message.content.displays).toBeUndefined();
      sandbox.send(
        { msg_type: "display_data", parent_id: message.msg_id, content: { path: "plot_1.png" } },
        randomBytes(5),
      );
    };
    expect(JSON.parse((await reply(begin("/exec"))).body)).toMatchObject({ signal: "SIGKILL" });
  });

  it("refuses by the status of what never ran", async () => {
    expect((await reply(begin("/exec/stream", { lang: "py" }))).status).toBe(400);
    launcher.refusal = { status: 503, body: { error: "engine_unavailable", message: "away" } };
    const refused = await reply(begin("/exec/stream"));
    expect(refused.status).toBe(503);
    expect(JSON.parse(refused.body)).toMatchObject({ error: "engine_unavailable" });
  });

  it("tells a failure after the beginning as its last event, and counts it as one", async () => {
    launcher.script = HELD;
    const heard = events(await answerTo(begin("/exec/stream")));
    await heard.next();
    const { sandbox } = await held();
    sandbox.die({ reason: "engine_lost", exit_code: null });
    expect((await heard.next()).value).toMatchObject({
      event: "error",
      data: { status: 503, error: "engine_unavailable" },
    });
    await until(() => gateway.inFlight.count === 0);
    expect(await requests("/exec/stream", 503)).toBe(1);
  });

  it("interrupts the call of a reader who leaves", async () => {
    launcher.script = HELD;
    const request = begin("/exec/stream");
    const response = await answerTo(request);
    response.on("error", () => {});
    await held();
    request.destroy();
    await until(() => launcher.live.every(({ executing }) => executing === null));
    await until(() => gateway.executor.running === 0);
  });
});

describe("a reader who does not read", () => {
  it("costs its bound and no more, and is told how much it missed", async () => {
    const stream = new EventStream(() => {});
    const piece = "x".repeat(1000);
    let told = 0;
    for (; told < 5000; told += 1) stream.piece("stdout", { text: piece }, piece.length);
    stream.end("result", { code: 0 });
    let bytes = 0;
    let all = "";
    for await (const chunk of stream.stream) {
      bytes += chunk.length;
      all += Buffer.from(chunk).toString();
    }
    expect(bytes).toBeLessThan(WAITING_BYTES + 200);
    const kept = all.split("event: stdout").length - 1;
    expect(kept).toBeGreaterThan(200);
    expect(all).toContain(
      `event: left_out\ndata: {"bytes":${(told - kept) * piece.length}}\n\nevent: result\n`,
    );
  });

  it("is told that the connection lives", async () => {
    const stream = new EventStream(() => {}, 5);
    const reader = stream.stream.getReader();
    const { value } = await reader.read();
    expect(Buffer.from(value ?? []).toString()).toBe(": still here\n\n");
    await reader.cancel();
  });
});

describe("a long call", () => {
  it.each([
    ["/exec", BODY, { stdout: "late\n", code: 0 }],
    ["/run", { session_id: "s", code: "1" }, { stdout: "late\n", exit_code: 0 }],
  ])("keeps the connection of POST %s by spaces before its JSON", async (path, body, expected) => {
    launcher.script = HELD;
    const response = await answerTo(begin(path, body));
    expect(response.statusCode).toBe(200);
    const [space] = await once(response, "data");
    expect(space.toString().trim()).toBe("");
    const { sandbox, call } = await held();
    sandbox.print(call, "late\n");
    sandbox.reply(call);
    const rest = await text(response);
    expect(rest).toMatch(/^ *\{/);
    expect(JSON.parse(rest)).toMatchObject(expected);
  });

  it("that the service fails breaks off: no reply is told as one", async () => {
    launcher.script = HELD;
    const response = await answerTo(begin("/exec"));
    const { sandbox } = await held();
    const whole = text(response).then(
      () => "whole",
      () => "broken off",
    );
    sandbox.die({ reason: "engine_lost", exit_code: null });
    expect(await whole).toBe("broken off");
    expect(response.complete).toBe(false);
    await until(() => gateway.inFlight.count === 0);
    expect(await requests("/exec", 503)).toBe(1);
    expect(await requests("/exec", 200)).toBe(0);
  });

  it("that waits for its session is not begun: its refusal has its status", async () => {
    launcher.script = HELD;
    const first = begin("/exec");
    const response = await answerTo(first);
    onTestFinished(() => void first.destroy());
    const second = begin("/exec");
    await until(() => gateway.kernels.registry.waiting === 1);
    gateway.kernels.retire();
    expect((await reply(second)).status).toBe(503);
    const { sandbox, call } = await held();
    sandbox.reply(call);
    expect(JSON.parse(await text(response))).toMatchObject({ code: 0 });
  });
});
