/** One address for several machines: what a stack renders, in a real HAProxy, in front of two servers that tell what they got. */
import { EventEmitter, once } from "node:events";
import {
  Agent,
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { parseStackConfig } from "../../infra/config/parse.ts";
import { longestAnswerMs } from "../../infra/services/environment.ts";
import { entryConfiguration } from "../../infra/targets/hosts/entry-configuration.ts";
import { freePort } from "../support/free-port.ts";
import { findings, Haproxy } from "../support/haproxy/haproxy.ts";

const MIB = 1024 * 1024;
const CONFIG = parseStackConfig("test", (key) => ({ target: "local" })[key]);
const SILENT_MS = longestAnswerMs(CONFIG.common);

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A gateway as the entry sees it. Calls that begin with /held wait for `release`. */
class Gateway extends EventEmitter<{ call: [string]; gone: [string]; bytes: [number] }> {
  readonly calls: string[] = [];
  healthy = true;
  /** Probes that were told 503. */
  refused = 0;
  readonly #held = new Set<() => void>();
  readonly #server = createServer((incoming, outgoing) => void this.#serve(incoming, outgoing));

  static async start(): Promise<Gateway> {
    const gateway = new Gateway();
    gateway.#server.listen(0, "127.0.0.1");
    await once(gateway.#server, "listening");
    ends.push(() => gateway.end());
    return gateway;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  release(): void {
    for (const go of this.#held) go();
  }

  /** As a machine that is switched off. */
  async end(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const path = incoming.url ?? "";
    if (path === "/health") {
      // As a gateway does.
      if (incoming.headers.host === undefined) {
        outgoing.writeHead(400).end();
        return;
      }
      if (!this.healthy) this.refused += 1;
      outgoing.writeHead(this.healthy ? 200 : 503).end(this.healthy ? "OK" : "Draining");
      return;
    }
    this.calls.push(path);
    outgoing.once("close", () => !outgoing.writableFinished && this.emit("gone", path));
    this.emit("call", path);
    if (path === "/broken") {
      incoming.socket.destroy();
      return;
    }
    if (path === "/down") {
      outgoing.writeHead(200, { "Content-Length": 200 * MIB });
      outgoing.flushHeaders();
      this.on("bytes", () => outgoing.write(Buffer.alloc(MIB)));
      return;
    }
    let bytes = 0;
    for await (const chunk of incoming) {
      bytes += chunk.length;
      this.emit("bytes", bytes);
    }
    if (path.startsWith("/held")) await new Promise<void>((resolve) => this.#held.add(resolve));
    if (path === "/stream") {
      outgoing.writeHead(200, { "Content-Type": "text/event-stream" });
      outgoing.flushHeaders();
      for (let n = 0; n < 100; n += 1) {
        const asked = once(this, "bytes");
        outgoing.write(`data: ${n}\n\n`);
        await asked;
      }
    }
    outgoing.end(String(bytes));
  }
}

const configurationFor = (port: number, gateways: readonly Gateway[]) =>
  entryConfiguration({
    bind: `127.0.0.1:${port}`,
    servers: gateways.map((gateway, n) => ({
      name: `box-${n + 1}`,
      address: "127.0.0.1",
      port: gateway.port,
    })),
    silentMs: SILENT_MS,
  });

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | undefined;
}

class Entry {
  readonly #agent = new Agent({ keepAlive: true });
  readonly port: number;
  readonly haproxy: Haproxy;

  private constructor(port: number, haproxy: Haproxy) {
    this.port = port;
    this.haproxy = haproxy;
  }

  /** When all of them take calls. */
  static async start(
    gateways: readonly Gateway[],
    change = (configuration: string) => configuration,
  ): Promise<Entry> {
    const port = await freePort();
    const haproxy = await Haproxy.start(change(configurationFor(port, gateways)), async () => {
      await ask(port, "/ready");
      return gateways.every(({ calls }) => calls.length > 0);
    });
    ends.push(() => haproxy.stop());
    for (const { calls } of gateways) calls.length = 0;
    const entry = new Entry(port, haproxy);
    ends.push(() => entry.#agent.destroy());
    return entry;
  }

  /** On connections that are kept. */
  ask(path: string, method = "POST"): Promise<Answer> {
    return ask(this.port, path, method, this.#agent);
  }
}

function ask(port: number, path: string, method = "GET", agent?: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, path, method, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, text, retryAfter: response.headers["retry-after"] }),
      );
      response.on("error", reject);
    });
    asked.on("error", reject).end();
  });
}

const responseTo = (asked: ClientRequest) =>
  new Promise<IncomingMessage>((resolve, reject) => asked.once("response", resolve).once("error", reject));

const Said = z.object({ error: z.string(), message: z.string(), retry_after_seconds: z.number() });
const fine = { status: 200, text: "0" };

describe("the entry of several machines", () => {
  it("is a configuration that HAProxy takes without a word, whatever machines are called", () => {
    const servers = [
      { name: "box-1", address: "kernelyard-test-gateway", port: 3112 },
      { name: "box-2", address: "10.0.0.12", port: 3112 },
      { name: "box-3", address: "fd00::3", port: 3112 },
    ];
    const configuration = entryConfiguration({ bind: ":8080", servers, silentMs: SILENT_MS });
    expect(findings(configuration)).toBe("");
    expect(findings(configuration.replace("leastconn", "nowhere"))).toContain("balance only supports");
  });

  it("waits for longer than the longest call that the settings allow", () => {
    const seconds = (settings: Record<string, string>) => {
      const answer = longestAnswerMs({ ...CONFIG.common, settings });
      const configuration = entryConfiguration({ bind: ":1", servers: [], silentMs: answer });
      return ["client", "server", "http-keep-alive"].map((name) => {
        const [, ms] = new RegExp(`timeout ${name} (\\d+)ms`).exec(configuration) ?? [];
        return Number(ms) - answer;
      });
    };
    for (const settings of [{}, { KERNELYARD_TIMEOUT_MAX_MS: "3600000" }])
      expect(seconds(settings)).toEqual([60_000, 60_000, 60_000]);
  });

  it("gives a machine that drains no new call and loses none, and gives it calls again when it is well", async () => {
    const [one, other] = [await Gateway.start(), await Gateway.start()];
    const entry = await Entry.start([one, other]);
    const held = [entry.ask("/held/1"), entry.ask("/held/2")];
    await expect.poll(() => one.calls.length + other.calls.length).toBe(2);
    expect([one.calls.length, other.calls.length]).toEqual([1, 1]);

    let asking = true;
    const answers: Promise<Answer>[] = [];
    const load = async () => {
      for (let n = 0; asking; n += 1) {
        answers.push(entry.ask(`/load/${n}`));
        await answers.at(-1);
      }
    };
    const loads = [load(), load(), load()];
    one.healthy = false;
    // The third probe is sent when the second has been understood.
    await expect.poll(() => one.refused).toBeGreaterThan(2);
    const before = one.calls.length;
    for (let n = 0; n < 100; n += 1) expect(await entry.ask(`/after/${n}`)).toMatchObject(fine);
    expect(one.calls.length).toBe(before);
    asking = false;
    await Promise.all(loads);
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject(fine);
    expect(answers.length).toBeGreaterThan(100);

    for (const gateway of [one, other]) gateway.release();
    for (const answer of await Promise.all(held)) expect(answer).toMatchObject(fine);
    one.healthy = true;
    await expect
      .poll(async () => {
        await entry.ask("/again");
        return one.calls.includes("/again");
      })
      .toBe(true);
  });

  it("passes over a machine that is switched off, and never sends a call twice", async () => {
    const [one, other] = [await Gateway.start(), await Gateway.start()];
    const entry = await Entry.start([one, other]);
    const lost = await entry.ask("/broken");
    expect(lost).toMatchObject({ status: 502, retryAfter: "5" });
    expect(Said.parse(JSON.parse(lost.text))).toMatchObject({ error: "host_lost_during_call" });
    expect([...one.calls, ...other.calls]).toEqual(["/broken"]);
    await one.end();
    for (let n = 0; n < 20; n += 1) expect(await entry.ask(`/off/${n}`)).toMatchObject(fine);
    await other.end();
    await expect.poll(async () => (await entry.ask("/nobody")).status).toBe(503);
    const away = await entry.ask("/nobody");
    expect(away.retryAfter).toBe("5");
    expect(Said.parse(JSON.parse(away.text))).toMatchObject({ error: "fleet_unavailable" });
  });

  it("would send it twice by other rules", async () => {
    const [one, other] = [await Gateway.start(), await Gateway.start()];
    const entry = await Entry.start([one, other], (configuration) =>
      configuration.replace("retry-on conn-failure", "retry-on all-retryable-errors"),
    );
    await entry.ask("/broken");
    expect(one.calls.length + other.calls.length).toBeGreaterThan(1);
  });

  it("passes a hang-up on", async () => {
    const gateway = await Gateway.start();
    const entry = await Entry.start([gateway]);
    const asked = request({ host: "127.0.0.1", port: entry.port, path: "/held", method: "POST" });
    asked.on("error", () => {});
    const began = once(gateway, "call");
    asked.end();
    await began;
    const gone = once(gateway, "gone");
    asked.destroy();
    expect(await gone).toEqual(["/held"]);
  });

  it("passes events on as they come", async () => {
    const gateway = await Gateway.start();
    const entry = await Entry.start([gateway]);
    const response = await responseTo(
      request({ host: "127.0.0.1", port: entry.port, path: "/stream" }).end(),
    );
    let text = "";
    // The next event is not sent before this one was read.
    for await (const part of response) {
      text += part;
      gateway.emit("bytes", 0);
    }
    expect(text.match(/^data: /gm)?.length).toBe(100);
  });

  it("passes 200 MiB up and down without keeping them", async () => {
    const gateway = await Gateway.start();
    const entry = await Entry.start([gateway]);
    const up = request({ host: "127.0.0.1", port: entry.port, path: "/up", method: "POST" });
    const answered = responseTo(up);
    for (let sent = MIB; sent <= 200 * MIB; sent += MIB) {
      // The next one is not sent before this one is there.
      const there = new Promise<void>((resolve) => {
        const look = (bytes: number) => {
          if (bytes < sent) return;
          gateway.off("bytes", look);
          resolve();
        };
        gateway.on("bytes", look);
      });
      up.write(Buffer.alloc(MIB));
      await there;
    }
    up.end();
    const response = await answered;
    expect((await response.setEncoding("utf8").toArray()).join("")).toBe(String(200 * MIB));

    const down = await responseTo(request({ host: "127.0.0.1", port: entry.port, path: "/down" }).end());
    let [read, asked] = [0, 1];
    gateway.emit("bytes", 0);
    for await (const part of down) {
      read += part.length;
      if (read < asked * MIB || asked === 200) continue;
      asked += 1;
      gateway.emit("bytes", 0);
    }
    expect(read).toBe(200 * MIB);
  });

  it("takes another machine while it serves", async () => {
    const [one, other] = [await Gateway.start(), await Gateway.start()];
    const entry = await Entry.start([one]);
    const held = entry.ask("/held");
    await expect.poll(() => one.calls.length).toBe(1);
    entry.haproxy.reload(configurationFor(entry.port, [one, other]));
    await expect
      .poll(async () => {
        expect(await ask(entry.port, "/new")).toMatchObject(fine);
        return other.calls.length;
      })
      .toBeGreaterThan(0);
    one.release();
    expect(await held).toMatchObject(fine);
  });
});
