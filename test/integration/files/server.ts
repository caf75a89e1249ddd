import { fork } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import { onTestFinished } from "vitest";

const Ready = z.object({ address: z.object({ port: z.number() }), inspector: z.string() });
export const MIB = 1024 * 1024;

export async function startServer(directory: string) {
  const child = fork(join(import.meta.dirname, "serve.ts"), [directory], {
    execArgv: ["--inspect=127.0.0.1:0", "--inspect-publish-uid=http"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const exited = once(child, "exit");
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  onTestFinished(kill);
  const [ready] = await once(child, "message");
  const { address, inspector } = Ready.parse(ready);
  return {
    pid: child.pid,
    base: `http://127.0.0.1:${address.port}/v1`,
    kill,
    /** For `HeldMemory`. */
    inspector,
  };
}

/** A multipart form around one streamed file, without a length: as LibreChat sends it. */
export function streamedForm(name: string, content: Iterable<Buffer>): { type: string; body: Readable } {
  const boundary = "--------------------------000111222333";
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="kind"\r\n\r\nuser\r\n--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: application/octet-stream\r\n\r\n`;
  const parts = (function* () {
    yield Buffer.from(head);
    yield* content;
    yield Buffer.from(`\r\n--${boundary}--\r\n`);
  })();
  return {
    type: `multipart/form-data; boundary=${boundary}`,
    body: Readable.from(parts, { objectMode: false }),
  };
}

export interface Reply {
  readonly status: number;
  readonly body: string;
}

/** As `post`, for a body that never ends: sending stops at the reply. */
export function firstReply(url: string, form: { type: string; body: Readable }): Promise<Reply> {
  return post(url, form).finally(() => form.body.destroy());
}

/** Posts a stream at the pace of the receiver. Rejects when the connection breaks before a reply. */
export function post(url: string, form: { type: string; body: Readable }): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { method: "POST", headers: { "content-type": form.type, "x-test-caller": "t" } },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () =>
          resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
        );
      },
    );
    outgoing.on("error", reject);
    form.body.pipe(outgoing);
  });
}
