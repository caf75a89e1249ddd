/** A real S3 server over a directory on loopback, and a bucket of its own for each test. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../support/free-port.ts";

export const TEST_CREDENTIALS = { AWS_ACCESS_KEY_ID: "tests", AWS_SECRET_ACCESS_KEY: "not-a-secret" };
const READY_MS = 60_000;

export interface S3Server {
  readonly endpoint: string;
  /** Holds a folder per bucket. */
  readonly directory: string;
  makeBucket(): Promise<string>;
  /** Keys of all objects and of unfinished uploads. */
  keys(bucket: string): Promise<string[]>;
  loseObject(bucket: string, key: string): Promise<void>;
  addObject(bucket: string, key: string, content: string): Promise<void>;
  setModified(bucket: string, key: string, atMs: number): Promise<void>;
  /** Nobody answers at its address, until `comeBack`. */
  leave(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

/** `address`: of this machine, for servers that are elsewhere. */
export async function startS3(address = "127.0.0.1"): Promise<S3Server> {
  const program = execFileSync("bash", [join(import.meta.dirname, "versitygw.sh")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  }).trim();
  const root = await mkdtemp(join(tmpdir(), "kernelyard-s3-"));
  const directory = join(root, "buckets");
  const sidecar = join(root, "attributes");
  await mkdir(directory);
  await mkdir(sidecar);
  const port = await freePort();
  const endpoint = `http://${address}:${port}`;
  const launch = () =>
    spawn(
      program,
      [
        "--quiet",
        "--keep-alive",
        `--port=${address}:${port}`,
        `--access=${TEST_CREDENTIALS.AWS_ACCESS_KEY_ID}`,
        `--secret=${TEST_CREDENTIALS.AWS_SECRET_ACCESS_KEY}`,
        "--health=/health",
        "posix",
        // Not every temporary directory has extended attributes.
        `--sidecar=${sidecar}`,
        directory,
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
  let server = launch();
  let ended = once(server, "close");
  const leave = async () => {
    server.kill("SIGKILL");
    await ended;
  };
  await ready(`${endpoint}/health`, ended);
  let buckets = 0;
  return {
    endpoint,
    directory,
    async makeBucket() {
      buckets += 1;
      const name = `files-${buckets}`;
      await mkdir(join(directory, name));
      return name;
    },
    async keys(bucket) {
      const entries = await readdir(join(directory, bucket), { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(join(directory, bucket).length + 1));
    },
    loseObject: (bucket, key) => rm(join(directory, bucket, key)),
    async addObject(bucket, key, content) {
      const path = join(directory, bucket, key);
      await mkdir(join(path, ".."), { recursive: true });
      await writeFile(path, content);
    },
    setModified: (bucket, key, atMs) => utimes(join(directory, bucket, key), atMs / 1000, atMs / 1000),
    leave,
    async comeBack() {
      server = launch();
      ended = once(server, "close");
      await ready(`${endpoint}/health`, ended);
    },
    async stop() {
      await leave();
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function ready(url: string, ended: Promise<unknown>): Promise<void> {
  const deadline = Date.now() + READY_MS;
  let gone = false;
  void ended.then(() => {
    gone = true;
  });
  for (;;) {
    const response = await fetch(url).catch(() => null);
    if (response?.ok) return;
    if (gone) throw new Error("versitygw ended; its words are above");
    if (Date.now() > deadline) throw new Error(`versitygw does not answer at ${url}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
