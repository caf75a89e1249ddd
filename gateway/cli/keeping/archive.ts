/** An archive, written and read as a stream: a tar file whose first entry is the head and whose last the manifest. */
import { createHash } from "node:crypto";
import { constants, createReadStream, createWriteStream, type WriteStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract, type Headers, type Pack, pack } from "tar-stream";
import { HEAD, MANIFEST, partOf } from "./layout.ts";
import { Counts, Head, lineOf } from "./manifest.ts";
import { type Extent, mapText, sparseHeader } from "./sparse.ts";

const BLOCK_BYTES = 1024 * 1024;
const MODE = 0o600;
/** GNU tar's own name for what only `GNU.sparse.name` names. */
const SPARSE_FOLDER = "GNUSparseFile.0/";
const MAX_HEAD_BYTES = 64 * 1024;

/** It is none of ours, is cut short, or was changed. */
export class ArchiveError extends Error {
  override readonly name = "ArchiveError";
}

/** As `tar-stream` has them; its types leave out what a PAX header adds. */
interface PaxHeaders extends Headers {
  readonly pax?: Readonly<Record<string, string>>;
}

interface Body {
  readonly bytes: number;
  readonly mtimeMs: number;
  /** Exactly so many bytes. */
  read(): AsyncIterable<Buffer>;
}

export class ArchiveWriter {
  readonly counts = new Counts();
  readonly #path: string;
  readonly #pack: Pack;
  readonly #written: Promise<void>;
  readonly #manifest: WriteStream;
  /** Why nothing can be written any more. */
  #failure: unknown = null;

  private constructor(path: string, manifest: string) {
    this.#path = path;
    this.#pack = pack();
    this.#manifest = createWriteStream(manifest, { mode: MODE });
    const output = createWriteStream(partialOf(path), { flags: "wx", mode: MODE, flush: true });
    this.#written = pipeline(this.#pack, output);
    // Whoever writes an entry hears of it there; that the archive ended too soon is no reason of its own.
    this.#written.catch((error: unknown) => {
      if (!(error instanceof Error && "code" in error && error.code === "ERR_STREAM_PREMATURE_CLOSE")) {
        this.#failure = error;
      }
    });
  }

  /** `manifest`: a file for its own use. What an earlier one left half-written at `path` is removed. */
  static async create(path: string, manifest: string, head: Head): Promise<ArchiveWriter> {
    await rm(partialOf(path), { force: true });
    const writer = new ArchiveWriter(path, manifest);
    await writer.#entry(HEAD, bufferBody(`${JSON.stringify(head, null, 2)}\n`, Date.parse(head.made_at)));
    return writer;
  }

  async addText(path: string, text: string): Promise<void> {
    await this.#add(path, bufferBody(text, Date.now()));
  }

  /** The first `bytes` of a file, or all that is there now. False: it is gone, or is no file. Returns the digest of what was read. */
  async addFile(
    path: string,
    from: string,
    bytes?: (path: string, size: number) => Promise<number>,
  ): Promise<string | null> {
    const handle = await openPlain(from);
    if (handle === null) return null;
    try {
      const { mtimeMs, size } = await handle.stat();
      const length = bytes === undefined ? size : await bytes(from, size);
      return await this.#add(path, {
        bytes: length,
        mtimeMs,
        read: () =>
          length === 0
            ? Readable.from([])
            : handle.createReadStream({
                start: 0,
                end: length - 1,
                highWaterMark: BLOCK_BYTES,
                autoClose: false,
              }),
      });
    } finally {
      await handle.close();
    }
  }

  async addSparse(path: string, from: string, extents: readonly Extent[], mtimeMs: number): Promise<void> {
    const handle = await open(from, "r");
    try {
      const { size } = await handle.stat();
      const map = mapText(extents, size);
      const body = {
        bytes: extents.reduce((sum, { bytes }) => sum + bytes, map.length),
        mtimeMs,
        async *read() {
          yield map;
          for (const { at, bytes } of extents) {
            yield* handle.createReadStream({
              start: at,
              end: at + bytes - 1,
              highWaterMark: BLOCK_BYTES,
              autoClose: false,
            });
          }
        },
      };
      await this.#add(path, body, sparseHeader(path, size));
    } finally {
      await handle.close();
    }
  }

  /** The archive is there, whole, when it resolves. Returns the manifest's digest. */
  async finish(): Promise<string> {
    this.#manifest.end(`${this.counts.line()}\n`);
    await closed(this.#manifest);
    const from = String(this.#manifest.path);
    const handle = await open(from, "r");
    const { mtimeMs, size } = await handle.stat();
    const digest = await this.#entry(MANIFEST, {
      bytes: size,
      mtimeMs,
      read: () => handle.createReadStream({ highWaterMark: BLOCK_BYTES }),
    });
    this.#pack.finalize();
    await this.#written;
    await rename(partialOf(this.#path), this.#path);
    return digest;
  }

  /** Nothing of it is left. */
  async abandon(): Promise<void> {
    this.#pack.destroy();
    this.#manifest.destroy();
    await this.#written.catch(() => {});
    await rm(partialOf(this.#path), { force: true });
  }

  async #add(path: string, body: Body, pax?: Readonly<Record<string, string>>): Promise<string> {
    const part = partOf(path);
    if (part === null) throw new Error(`${path} is in no part of a backup`);
    const sha256 = await this.#entry(path, body, pax);
    if (!this.#manifest.write(`${lineOf({ path, bytes: body.bytes, sha256 })}\n`)) {
      await new Promise<void>((resolve) => this.#manifest.once("drain", () => resolve()));
    }
    this.counts.add(part.name, body.bytes);
    return sha256;
  }

  async #entry(path: string, body: Body, pax?: Readonly<Record<string, string>>): Promise<string> {
    const hash = createHash("sha256");
    const header: PaxHeaders = {
      name: pax === undefined ? path : `${SPARSE_FOLDER}${path}`,
      size: body.bytes,
      mode: MODE,
      mtime: new Date(Math.floor(body.mtimeMs)),
      uid: 0,
      gid: 0,
      type: "file",
      ...(pax === undefined ? {} : { pax }),
    };
    const counted = async function* () {
      for await (const chunk of body.read()) {
        hash.update(chunk);
        yield chunk;
      }
    };
    try {
      if (this.#failure !== null) throw this.#failure;
      const finished = Promise.withResolvers<void>();
      finished.promise.catch(() => {});
      const entry = this.#pack.entry(header, (error) =>
        error ? finished.reject(error) : finished.resolve(),
      );
      if (body.bytes === 0) entry.end();
      // As a stream: what tar-stream makes ends by pipes alone.
      else await pipeline(Readable.from(counted(), { objectMode: false }), entry);
      await finished.promise;
    } catch (error) {
      this.#pack.destroy();
      await this.#written.catch(() => {});
      throw this.#failure ?? error;
    }
    return hash.digest("hex");
  }
}

export const partialOf = (path: string) => `${path}.partial`;

function bufferBody(text: string, mtimeMs: number): Body {
  const bytes = Buffer.from(text);
  return { bytes: bytes.length, mtimeMs, read: () => Readable.from([bytes]) };
}

/** Null: it is gone, or no plain file. The gateway can write where some of them lie, and names no other file to us. */
async function openPlain(path: string) {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ELOOP"))
      return null;
    throw error;
  });
  if (handle === null) return null;
  const found = await handle.stat();
  if (found.isFile() && found.nlink === 1) return handle;
  await handle.close();
  return null;
}

function closed(stream: WriteStream): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once("close", () => resolve());
    stream.once("error", reject);
  });
}

/** One entry as it comes out of an archive; to be read to its end. */
export interface ReadEntry {
  readonly path: string;
  readonly bytes: number;
  readonly mtime: Date | null;
  /** Of a sparse file, as it was; null: it is none. */
  readonly sparseSize: number | null;
  readonly body: AsyncIterable<Buffer>;
}

/** Reads an archive's entries in their order, after its head. Throws `ArchiveError`. */
export async function* readEntries(path: string, onHead: (head: Head) => void): AsyncGenerator<ReadEntry> {
  const tar = extract();
  const fed = pipeline(createReadStream(path, { highWaterMark: BLOCK_BYTES }), tar);
  const entries = entriesOf(tar, fed);
  try {
    let head = false;
    for await (const entry of entries) {
      if (head) {
        yield entry;
        continue;
      }
      if (entry.path !== HEAD) throw new ArchiveError("it is no backup of Kernelyard");
      onHead(await readHead(entry));
      head = true;
    }
    if (!head) throw new ArchiveError("it is no backup of Kernelyard");
  } catch (error) {
    // What the tar reader says of bytes that are no tar file.
    if (error instanceof Error && /^(Invalid tar header|Unexpected end of data)/.test(error.message)) {
      throw new ArchiveError("it is no whole tar file: cut short, or changed");
    }
    throw error;
  } finally {
    tar.destroy();
    await fed.catch(() => {});
  }
}

async function* entriesOf(tar: ReturnType<typeof extract>, fed: Promise<void>): AsyncGenerator<ReadEntry> {
  type Next = { readonly header: Headers; readonly body: Readable; readonly next: () => void };
  let arrived = Promise.withResolvers<Next | null>();
  tar.on("entry", (header, stream, next) =>
    arrived.resolve({ header, body: new Readable().wrap(stream), next }),
  );
  fed.then(
    () => arrived.resolve(null),
    (error: unknown) => arrived.reject(error),
  );
  for (;;) {
    const entry = await arrived.promise;
    if (entry === null) return;
    arrived = Promise.withResolvers();
    arrived.promise.catch(() => {});
    yield view(entry.header, entry.body);
    entry.next();
  }
}

function view(header: PaxHeaders, body: Readable): ReadEntry {
  const pax = header.pax ?? {};
  if (header.type !== "file") throw new ArchiveError(`${header.name} is no plain file`);
  const sparse = pax["GNU.sparse.realsize"];
  const sparseSize = sparse === undefined ? null : Number(sparse);
  if (sparseSize !== null && (!Number.isSafeInteger(sparseSize) || sparseSize < 0)) {
    throw new ArchiveError(`${header.name} has no size`);
  }
  const path = sparseSize === null ? header.name : (pax["GNU.sparse.name"] ?? "");
  return { path, bytes: header.size ?? 0, mtime: header.mtime ?? null, sparseSize, body };
}

async function readHead({ body, bytes }: ReadEntry): Promise<Head> {
  if (bytes > MAX_HEAD_BYTES) throw new ArchiveError("its head is too long");
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  try {
    return Head.parse(JSON.parse(Buffer.concat(chunks).toString()));
  } catch {
    throw new ArchiveError("its head is damaged");
  }
}

/** Lines of a file, one after the other. */
export function linesOf(path: string): AsyncIterable<string> {
  return createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY });
}
