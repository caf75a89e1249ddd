/** Runs `putting.ts`, kills it in the middle, and holds a store to what it had acknowledged. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "@hono/zod-openapi";
import { expect } from "vitest";
import type { FileStore } from "../../../gateway/server/files/store.ts";

const Line = z.union([
  z.object({ put: z.string(), session: z.string(), etag: z.string() }),
  z.object({ removing: z.string() }),
  z.object({ removed: z.string() }),
]);

interface Put {
  readonly session: string;
  readonly etag: string;
}

export interface Acknowledged {
  readonly files: ReadonlyMap<string, Put>;
  /** Deletion had begun when the process died: either outcome is right. */
  readonly undecided: ReadonlyMap<string, Put>;
}

export async function putAndKill(place: readonly string[], rounds: number): Promise<Acknowledged> {
  const files = new Map<string, Put>();
  const undecided = new Map<string, Put>();
  for (let round = 0; round < rounds; round++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, "putting.ts"), ...place], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const closed = once(child, "close");
    const killAfter = 1 + Math.floor(Math.random() * 25);
    let puts = 0;
    for await (const text of createInterface({ input: child.stdout })) {
      // The last line may be cut where the process died.
      if (!text.endsWith("}")) continue;
      const line = Line.parse(JSON.parse(text));
      if ("put" in line) {
        files.set(line.put, line);
        if (++puts === killAfter) child.kill("SIGKILL");
      } else if ("removing" in line) {
        const file = files.get(line.removing);
        if (file) undecided.set(line.removing, file);
        files.delete(line.removing);
      } else {
        undecided.delete(line.removed);
      }
    }
    await closed;
    expect(child.signalCode).toBe("SIGKILL");
  }
  return { files, undecided };
}

export async function expectWhole(store: FileStore, { files }: Acknowledged): Promise<void> {
  for (const [id, { session, etag }] of files) {
    const found = await store.find(session, id);
    expect(found?.record.etag).toBe(etag);
    if (!found) continue;
    const stream = await store.open(found.record);
    expect(stream).not.toBeNull();
    const hash = createHash("sha256");
    if (stream) for await (const chunk of stream) hash.update(chunk);
    expect(hash.digest("hex")).toBe(etag);
  }
}
