/**
 * A checkpoint's seal: a manifest beside its files that says what they are, with a MAC over each. Nobody but root can
 * write there; what the MAC tells is a disk that lost bytes, a half-written checkpoint, a copy from another host.
 */
import { createHmac, randomBytes } from "node:crypto";
import { open, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { SessionKey, SessionOwner } from "../../common/protocol/launcher-api.ts";
import { sameText } from "../../common/same-text.ts";
import { CheckpointParts } from "./parts.ts";

const MANIFEST = "manifest.json";
/** gVisor's name for the file with the pages. */
const MEMORY = "pages.img";
const FORMAT = 1;
const READ_BYTES = 1024 * 1024;

const Content = z
  .object({
    format: z.literal(FORMAT),
    /** `template:fresh`, `template:session`, or the session's volume: a checkpoint is good for nothing else. */
    owner: z.string(),
    parts: CheckpointParts,
    saved_at: z.number(),
    /** Which session sleeps and whose it is; not in a template's, nor in those of earlier versions. */
    session: z.object({ key: SessionKey, owner: SessionOwner.nullable() }).strict().optional(),
    files: z.array(
      z.object({ name: z.string(), bytes: z.number().int().nonnegative(), mac: z.string() }).strict(),
    ),
  })
  .strict();
export type Manifest = z.infer<typeof Content>;
const Sealed = z.object({ content: Content, mac: z.string() }).strict();

/** A checkpoint that cannot be trusted; the message is the end of a sentence. */
export class BrokenCheckpoint extends Error {
  override readonly name = "BrokenCheckpoint";
}

export class Seal {
  readonly #key: Buffer;

  private constructor(key: Buffer) {
    this.#key = key;
  }

  /** The key in `path`; made when there is none. */
  static async open(path: string): Promise<Seal> {
    const present = await readFile(path).catch(() => null);
    if (present?.length === 32) return new Seal(present);
    const key = randomBytes(32);
    await writeFile(`${path}.new`, key, { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
    return new Seal(key);
  }

  /** Writes the manifest, last and by rename: a checkpoint is one when it has it. */
  async close(directory: string, content: Omit<Manifest, "format" | "files">): Promise<Manifest> {
    const names = (await readdir(directory)).filter((name) => !name.startsWith(MANIFEST)).sort();
    const files = await Promise.all(names.map((name) => this.#describe(directory, name)));
    const manifest: Manifest = { ...content, format: FORMAT, files };
    const path = join(directory, MANIFEST);
    await writeFile(`${path}.new`, JSON.stringify({ content: manifest, mac: this.#macOf(manifest) }), {
      mode: 0o600,
      flush: true,
    });
    await rename(`${path}.new`, path);
    return manifest;
  }

  /** What the manifest says; its files are not looked at. Null when there is none. Throws `BrokenCheckpoint`. */
  async read(directory: string): Promise<Manifest | null> {
    let text: string;
    try {
      text = await readFile(join(directory, MANIFEST), "utf8");
    } catch {
      return null;
    }
    let sealed: z.infer<typeof Sealed>;
    try {
      sealed = Sealed.parse(JSON.parse(text));
    } catch {
      throw new BrokenCheckpoint("its saved state is damaged");
    }
    if (!sameText(sealed.mac, this.#macOf(sealed.content))) {
      throw new BrokenCheckpoint("its saved state is damaged, or was made elsewhere");
    }
    return sealed.content;
  }

  /** What gVisor decodes: its own objects, small beside the memory. Throws `BrokenCheckpoint`. */
  async verifyObjects(directory: string, manifest: Manifest): Promise<void> {
    await this.#verify(directory, manifest, (name) => name !== MEMORY);
  }

  /** The memory of the processes. Throws `BrokenCheckpoint` when a byte is not as it was saved. */
  async verifyMemory(directory: string, manifest: Manifest): Promise<void> {
    await this.#verify(directory, manifest, (name) => name === MEMORY);
  }

  async #verify(directory: string, manifest: Manifest, wanted: (name: string) => boolean): Promise<void> {
    for (const expected of manifest.files) {
      if (!wanted(expected.name)) continue;
      const found = await this.#describe(directory, expected.name).catch(() => null);
      if (found === null || found.bytes !== expected.bytes || !sameText(found.mac, expected.mac)) {
        throw new BrokenCheckpoint("its saved state is damaged on the disk");
      }
    }
  }

  /** MAC over one file's bytes, as hexadecimal text. */
  async macOfFile(path: string): Promise<{ readonly bytes: number; readonly mac: string }> {
    const mac = createHmac("sha256", this.#key);
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    const file = await open(path, "r");
    let bytes = 0;
    try {
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, READ_BYTES, null);
        if (bytesRead === 0) return { bytes, mac: mac.digest("hex") };
        mac.update(buffer.subarray(0, bytesRead));
        bytes += bytesRead;
      }
    } finally {
      await file.close();
    }
  }

  async #describe(directory: string, name: string): Promise<Manifest["files"][number]> {
    return { name, ...(await this.macOfFile(join(directory, name))) };
  }

  #macOf(content: Manifest): string {
    // Parsed once more: the order of its fields is then the schema's.
    return createHmac("sha256", this.#key)
      .update(JSON.stringify(Content.parse(content)))
      .digest("hex");
  }
}
