/** Large files over a real connection: what is held of them, and what other callers notice. */
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { expect, it, onTestFinished } from "vitest";
import { HeldMemory, watchHeld } from "../../support/held-memory.ts";
import { MIB, post, startServer, streamedForm } from "./server.ts";

const SIZE = 150 * MIB;
const BLOCK = Buffer.alloc(64 * 1024, "0123456789abcdef");
const Uploaded = z.object({
  storage_session_id: z.string(),
  files: z.array(z.object({ fileId: z.string() })),
});

function* blocks(bytes: number): Generator<Buffer> {
  for (let sent = 0; sent < bytes; sent += BLOCK.length) yield BLOCK;
}

const Probed = z.object({ median: z.number(), count: z.number() });

/** Another caller meanwhile; `stop` resolves to what it saw. */
async function watch(base: string): Promise<() => Promise<z.infer<typeof Probed>>> {
  const probe = fork(join(import.meta.dirname, "probe.ts"), [`${base}/files/${"x".repeat(21)}`]);
  onTestFinished(() => void probe.kill("SIGKILL"));
  await once(probe, "message");
  return async () => {
    const answer = once(probe, "message");
    probe.send("stop");
    const [seen] = await answer;
    return Probed.parse(seen);
  };
}

it("150 MB up and down: a small part of it is held at a time, and others are served", async () => {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-large-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const server = await startServer(directory);
  const upload = async (bytes: number) => {
    const reply = await post(`${server.base}/upload`, streamedForm("large.bin", blocks(bytes)));
    expect(reply.status).toBe(200);
    const { storage_session_id: sid, files } = Uploaded.parse(JSON.parse(reply.body));
    return `${server.base}/download/${sid}/${files[0]?.fileId}`;
  };
  const download = async (url: string) => {
    const response = await fetch(url, { headers: { "x-test-caller": "t" } });
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    expect(response.headers.get("etag")).toBe(`"${hash.digest("hex")}"`);
    return bytes;
  };
  // Once through everything, so that what is measured is the size of files and not of code.
  await download(await upload(MIB));
  using memory = await HeldMemory.of(server.inspector);
  const before = await memory.bytes();

  const report: string[] = [];
  const measured = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const stop = await watch(server.base);
    const started = performance.now();
    const { result, growth } = await watchHeld(memory, work(), before);
    const seconds = (performance.now() - started) / 1000;
    const { median, count } = await stop();
    report.push(
      `${what}: ${Math.round(SIZE / 1e6 / seconds)} MB/s, +${(growth / MIB).toFixed(1)} MiB, ${count} other requests in ${median.toFixed(1)} ms`,
    );
    expect(growth).toBeLessThan(SIZE / 8);
    // Had the transfer been in their way, the others would have waited for its end. How long they take is for `npm run bench`.
    expect(count).toBeGreaterThan(5);
    expect(median).toBeLessThan((seconds * 1000) / 5);
    return result;
  };
  const url = await measured("up", () => upload(SIZE));
  expect(await measured("down", () => download(url))).toBe(SIZE);
  process.stdout.write(`${report.join("\n")}\n`);

  const tooLarge = await post(`${server.base}/upload`, streamedForm("huge.bin", blocks(SIZE + MIB)));
  expect([tooLarge.status, JSON.parse(tooLarge.body)]).toMatchObject([
    413,
    { error: "File size limit exceeded" },
  ]);
});
