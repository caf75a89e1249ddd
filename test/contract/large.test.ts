/** 150 MB in and out: every process holds a small part of it at a time, and other calls are served meanwhile. */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { HeldMemory, watchHeld } from "../support/held-memory.ts";
import { type Caller, run, type StoredFile, Uploaded } from "./support/files.ts";
import { ALICE, type Service, startService } from "./support/service.ts";

const MIB = 1 << 20;
/** What LibreChat's client sends at most. */
const SIZE = 150 * MIB - 64 * 1024;
/** A process that kept the file would hold all of it; what waits between two ends of a stream does not grow with it. */
const MEMORY_GROWTH = SIZE / 8;

let service: Service;
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "ky-large-"));
  service = await startService({ KERNELYARD_MEMORY: "1g" }, { inspect: true });
});
afterAll(async () => {
  await service?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const caller = (): Caller => ({
  baseUrl: service.baseUrl,
  headers: { "X-API-Key": service.apiKey },
  userId: ALICE.id,
});

/** Transfers go through curl: the client's own work must not be measured. */
const curl = async (args: readonly string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)("curl", [
    "--silent",
    "--show-error",
    "--fail-with-body",
    "--header",
    `X-API-Key: ${service.apiKey}`,
    ...args,
  ]);
  return stdout;
};

interface Seen<T> {
  readonly result: T;
  readonly seconds: number;
  readonly growth: { readonly gateway: number; readonly launcher: number };
  /** Of calls that went on meanwhile, in ms. */
  readonly latencies: readonly number[];
}

/** Watches what the services hold, and calls a session of its own all the while. */
async function watched<T>(title: string, work: () => Promise<T>): Promise<Seen<T>> {
  using gateway = await HeldMemory.of(service.stack.gateway.inspector);
  using launcher = await HeldMemory.of(service.stack.launcher.inspector);
  const before = { gateway: await gateway.bytes(), launcher: await launcher.bytes() };
  const began = performance.now();
  const working = work();
  let done = false;
  const latencies: number[] = [];
  const others = async () => {
    while (!done) {
      const began = performance.now();
      const response = await service.stack.post("/run", { session_id: "other", code: "print(1+1)" });
      await response.text();
      if (!done) latencies.push(performance.now() - began);
      expect(response.status).toBe(200);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const finished = working.finally(() => {
    done = true;
  });
  const [ofGateway, ofLauncher] = await Promise.all([
    watchHeld(gateway, finished, before.gateway),
    watchHeld(launcher, finished, before.launcher),
    others(),
  ]);
  const seconds = (performance.now() - began) / 1000;
  const growth = { gateway: ofGateway.growth, launcher: ofLauncher.growth };
  report(title, seconds, growth, latencies);
  return { result: await working, seconds, growth, latencies };
}

const percentile = (values: readonly number[], share: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
};

function report(
  title: string,
  seconds: number,
  growth: Seen<unknown>["growth"],
  latencies: readonly number[],
) {
  const mib = (bytes: number) => `${Math.round(bytes / MIB)} MiB`;
  console.log(
    `${title}: ${seconds.toFixed(1)} s, ${Math.round(SIZE / 1e6 / seconds)} MB/s; gateway +${mib(growth.gateway)}, ` +
      `launcher +${mib(growth.launcher)}; ${latencies.length} other calls: p50 ${percentile(latencies, 0.5).toFixed(1)} ms, ` +
      `p99 ${percentile(latencies, 0.99).toFixed(1)} ms`,
  );
}

function expectModest({ growth, latencies, seconds }: Seen<unknown>): void {
  expect(growth.gateway).toBeLessThan(MEMORY_GROWTH);
  expect(growth.launcher).toBeLessThan(MEMORY_GROWTH);
  // Had the transfer been in their way, the others would have waited for its end. How long they take is for `npm run bench`.
  expect(latencies.length).toBeGreaterThan(5);
  expect(percentile(latencies, 0.5)).toBeLessThan((seconds * 1000) / 5);
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(z.instanceof(Buffer).parse(chunk));
  return hash.digest("hex");
}

it("c-16 150 MB up, into a sandbox, out of it and down", { timeout: 400_000 }, async () => {
  const source = join(directory, "source.bin");
  const piece = randomBytes(MIB);
  writeFileSync(source, "");
  for (let left = SIZE; left > 0; left -= MIB) {
    piece.writeUInt32BE(left, 0);
    writeFileSync(source, piece.subarray(0, Math.min(left, MIB)), { flag: "a" });
  }
  const expected = await sha256(source);
  // The session that is called meanwhile is warm.
  for (let i = 0; i < 50; i++) await service.stack.post("/run", { session_id: "other", code: "print(1+1)" });

  const up = await watched("upload", async () => {
    const answer = await curl([
      "--header",
      "Transfer-Encoding: chunked",
      "--header",
      `User-Id: ${ALICE.id}`,
      "--form",
      `file=@${source};filename=source.bin`,
      `${service.baseUrl}/upload`,
    ]);
    return Uploaded.parse(JSON.parse(answer));
  });
  const { storage_session_id, files } = up.result;
  const file: StoredFile = { id: files[0].fileId, name: "source.bin", storage_session_id };

  // The supervisor watches itself from inside: process 1 of the sandbox, sampled by a thread of the kernel.
  const hint = "large";
  const session = (code: string, refs: readonly StoredFile[] = []) =>
    run(caller(), { lang: "py", code, files: refs, runtime_session_hint: hint, timeout: 120_000 });
  await session(
    [
      "import threading, time",
      "def rss():",
      "    return int(open('/proc/1/statm').read().split()[1]) * 4096",
      "before = most = rss()",
      "def sample():",
      "    global most",
      "    while True:",
      "        most = max(most, rss()); time.sleep(0.02)",
      "threading.Thread(target=sample, daemon=True).start()",
    ].join("\n"),
  );
  const into = await watched("into the sandbox", () =>
    session(
      "import hashlib\nwith open('source.bin','rb') as f: print(hashlib.file_digest(f, 'sha256').hexdigest())",
      [file],
    ),
  );
  expect(into.result.stdout).toBe(`${expected}\n`);
  const out = await watched("out of the sandbox", () =>
    session("import shutil; shutil.copyfile('source.bin', 'copy.bin')"),
  );
  const copy = out.result.files.find(({ name }) => name === "copy.bin");
  expect(copy).toBeDefined();
  const target = join(directory, "target.bin");
  const down = await watched("download", () =>
    curl(["--output", target, `${service.baseUrl}/download/${out.result.session_id}/${copy?.id}`]),
  );
  expect(statSync(target).size).toBe(SIZE);
  expect(await sha256(target)).toBe(expected);

  const supervisor = z
    .tuple([z.number(), z.number()])
    .parse(JSON.parse((await session("print([before, most])")).stdout));
  console.log(`supervisor +${Math.round((supervisor[1] - supervisor[0]) / MIB)} MiB`);
  expect(supervisor[1] - supervisor[0]).toBeLessThan(MEMORY_GROWTH);
  for (const one of [up, into, out, down]) expectModest(one);
});
