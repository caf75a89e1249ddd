/**
 * The machine's Docker engine, as one of several hosts on it sees it. Volumes of sessions are named after the sessions, so two hosts that have
 * one session, one after the other, would meet: here each host's volumes have names of their own, and it does not notice.
 */

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { joined } from "../joined.ts";

const NAME = "librechat_vol_";
/** What names volumes, in its address or its body. */
const NAMING = /^(?:\/v[\d.]+)?\/(?:volumes|containers\/create)/;

let views = 0;

export class OwnVolumes {
  readonly socketPath: string;
  readonly #engine: string;
  readonly #folder: string;
  readonly #name: string;
  readonly #server: Server = createServer();
  readonly #streams = new Set<Duplex>();

  private constructor(engine: string, folder: string) {
    views += 1;
    this.#name = `ky${process.pid}.${views}_vol_`;
    this.#engine = engine;
    this.#folder = folder;
    this.socketPath = join(folder, "docker.sock");
    this.#server.on("request", (asked, answer) => void this.#pass(asked, answer));
    this.#server.on("upgrade", (asked, near) => this.#attach(asked, near));
  }

  /** `engine`: its socket. */
  static async before(engine: string): Promise<OwnVolumes> {
    const view = new OwnVolumes(engine, mkdtempSync(join(tmpdir(), "ky-engine-")));
    view.#server.listen(view.socketPath);
    await once(view.#server, "listening");
    return view;
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #ask({ headers, method, url = "/" }: IncomingMessage, more: Record<string, string | undefined> = {}) {
    const path = url.replaceAll(NAME, this.#name);
    return request({ socketPath: this.#engine, method, path, headers: { ...headers, ...more } });
  }

  async #pass(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    try {
      const naming = NAMING.test(asked.url ?? "");
      const body = naming ? (await text(asked)).replaceAll(NAME, this.#name) : null;
      const length = body === null ? {} : { "content-length": String(Buffer.byteLength(body)) };
      const call = this.#ask(asked, length);
      answer.once("close", () => call.destroy());
      if (body === null) asked.pipe(call);
      else call.end(body);
      const [response]: [IncomingMessage] = await new Promise((resolve, reject) => {
        call.once("response", (...given) => resolve(given));
        call.once("error", reject);
      });
      call.on("error", () => answer.destroy());
      const { statusCode = 502, headers } = response;
      if (!naming) {
        answer.writeHead(statusCode, headers);
        // Events: who listens is to know that the engine does.
        answer.flushHeaders();
        response.pipe(answer);
        return;
      }
      const said = (await text(response)).replaceAll(this.#name, NAME);
      const { "transfer-encoding": _, ...others } = headers;
      answer.writeHead(statusCode, { ...others, "content-length": String(Buffer.byteLength(said)) });
      answer.end(statusCode === 204 ? undefined : said);
    } catch {
      answer.destroy();
    }
  }

  #attach(asked: IncomingMessage, near: Duplex): void {
    near.on("error", () => near.destroy());
    const call = this.#ask(asked);
    call.on("error", () => near.destroy());
    call.on("response", (response) => {
      near.end(`HTTP/1.1 ${response.statusCode} ${response.statusMessage}\r\nContent-Length: 0\r\n\r\n`);
      response.resume();
    });
    call.on("upgrade", (response, far, head) => {
      const lines = [`HTTP/1.1 ${response.statusCode} ${response.statusMessage}`];
      for (let n = 0; n < response.rawHeaders.length; n += 2)
        lines.push(`${response.rawHeaders[n]}: ${response.rawHeaders[n + 1]}`);
      near.write(`${lines.join("\r\n")}\r\n\r\n`);
      if (head.length > 0) near.write(head);
      joined(near, far, this.#streams);
    });
    call.end();
  }
}
