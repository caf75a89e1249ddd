/** Processes and connections that end in the middle. */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import { expect, it, onTestFinished } from "vitest";
import { contentFiles } from "../../support/files/store.ts";
import { firstReply, post, startServer, streamedForm } from "./server.ts";

const CALLER = { headers: { "x-test-caller": "t" } };
const Uploaded = z.object({
  storage_session_id: z.string(),
  files: z.array(z.object({ fileId: z.string() })),
});

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-interrupted-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

it("kill -9 of the server: every upload that was answered is there, whole, and nothing else", async () => {
  const directory = temporaryDirectory();
  const answered: { path: string; id: string; etag: string }[] = [];
  for (let round = 0; round < 4; round++) {
    const server = await startServer(directory);
    let left = 3 + round * 5;
    const uploader = async (writer: number): Promise<void> => {
      for (let n = 0; ; n++) {
        const content = Buffer.alloc(150_000 + 7_000 * n, `${round}-${writer}-${n};`);
        const reply = await post(`${server.base}/upload`, streamedForm(`${n}.bin`, [content])).catch(
          () => null,
        );
        // The server is gone: whatever was on its way was never answered.
        if (!reply) return;
        const { storage_session_id: sid, files } = Uploaded.parse(JSON.parse(reply.body));
        const id = files[0]?.fileId ?? "";
        const etag = createHash("sha256").update(content).digest("hex");
        answered.push({ path: `/download/${sid}/${id}`, id, etag });
        if (--left === 0) await server.kill();
      }
    };
    await Promise.all([1, 2, 3, 4].map(uploader));
  }

  const server = await startServer(directory);
  expect(answered.length).toBeGreaterThanOrEqual(3 + 8 + 13 + 18);
  for (const { path, etag } of answered) {
    const response = await fetch(`${server.base}${path}`, CALLER);
    expect(response.status).toBe(200);
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(etag);
  }
  // The sweep at the start has removed what nobody owns; an unanswered upload may have become a file just before.
  const known = new Set(answered.map(({ id }) => id));
  const unanswered = (await contentFiles(directory)).filter((name) => !known.has(name));
  expect(unanswered.length).toBeLessThanOrEqual(4 * 4);
});

it("clients that hang up in the middle leave no bytes, no descriptors, and a server that serves", async () => {
  const directory = temporaryDirectory();
  const server = await startServer(directory);
  const { port } = new URL(server.base);
  const descriptors = () => readdirSync(`/proc/${server.pid}/fd`).length;
  const small = await post(`${server.base}/upload`, streamedForm("kept.bin", [Buffer.alloc(3_000_000)]));
  const { storage_session_id: sid, files } = Uploaded.parse(JSON.parse(small.body));
  const download = `/v1/download/${sid}/${files[0]?.fileId}`;
  const before = descriptors();

  for (let n = 0; n < 20; n++) {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", reject);
      socket.on("close", () => resolve());
      if (n % 2 === 0) {
        // A download of which only the first bytes are taken.
        socket.write(`GET ${download} HTTP/1.1\r\nHost: x\r\nx-test-caller: t\r\n\r\n`);
        socket.once("data", () => socket.destroy());
        return;
      }
      const head = `--b\r\nContent-Disposition: form-data; name="file"; filename="half"\r\n\r\n${"x".repeat(500_000)}`;
      socket.write(
        `POST /v1/upload HTTP/1.1\r\nHost: x\r\nx-test-caller: t\r\nTransfer-Encoding: chunked\r\n` +
          `Content-Type: multipart/form-data; boundary=b\r\n\r\n${head.length.toString(16)}\r\n${head}\r\n`,
        () => socket.destroy(),
      );
    });
  }
  // Each request ends by itself once its connection is gone; asking goes on meanwhile, bounded by the test's time.
  const settled = async () => descriptors() <= before + 2 && (await contentFiles(directory)).length === 1;
  while (!(await settled())) await fetch(`${server.base}/files/${sid}`, CALLER).then((reply) => reply.text());
  const again = await fetch(`${server.base}${download.slice(3)}`, CALLER);
  expect((await again.arrayBuffer()).byteLength).toBe(3_000_000);
});

it("a client that is still sending hears why its upload was refused", async () => {
  const server = await startServer(temporaryDirectory());
  const block = Buffer.alloc(1024 * 1024);
  const endless = (function* () {
    for (;;) yield block;
  })();
  const longField = Buffer.from(
    `--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n${"x".repeat(5000)}\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n`,
  );
  const body = Readable.from(
    (function* () {
      yield longField;
      yield* endless;
    })(),
    { objectMode: false },
  );
  const reply = await firstReply(`${server.base}/upload`, { type: "multipart/form-data; boundary=b", body });
  expect(reply.status).toBe(400);
  expect(JSON.parse(reply.body)).toMatchObject({ error: "the field id is too long" });
});
