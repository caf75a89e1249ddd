import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "@hono/zod-openapi";
import { expect, it } from "vitest";
import { contentFiles, openStore, temporaryDirectory } from "./helpers.ts";

const Line = z.union([
  z.object({ put: z.string(), session: z.string(), etag: z.string() }),
  z.object({ removing: z.string() }),
  z.object({ removed: z.string() }),
]);

it("kill -9 between any two steps loses no acknowledged file and leaves nothing that nobody owns", async () => {
  const directory = await temporaryDirectory();
  const acknowledged = new Map<string, { session: string; etag: string }>();
  /** Deletion had begun when the process died: either outcome is right. */
  const undecided = new Map<string, { session: string; etag: string }>();

  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, "putting.ts"), directory], {
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
        acknowledged.set(line.put, line);
        if (++puts === killAfter) child.kill("SIGKILL");
      } else if ("removing" in line) {
        const file = acknowledged.get(line.removing);
        if (file) undecided.set(line.removing, file);
        acknowledged.delete(line.removing);
      } else {
        undecided.delete(line.removed);
      }
    }
    await closed;
    expect(child.signalCode).toBe("SIGKILL");
  }

  const store = await openStore({ directory });
  await store.sweep();
  for (const [id, { session, etag }] of acknowledged) {
    const found = await store.find(session, id);
    expect(found?.record.etag).toBe(etag);
    if (!found) continue;
    const stream = await store.open(found.record);
    expect(stream).not.toBeNull();
    const hash = createHash("sha256");
    if (stream) for await (const chunk of stream) hash.update(chunk);
    expect(hash.digest("hex")).toBe(etag);
  }
  const present = new Set(await contentFiles(directory));
  for (const id of acknowledged.keys()) present.delete(id);
  for (const id of undecided.keys()) present.delete(id);
  // What remains was committed and not yet printed: it has a record, at most one per writer and round.
  expect(present.size).toBeLessThanOrEqual(4 * 6);
  expect(await store.sweep()).toEqual({ expired: 0, orphanedContent: 0, orphanedRecords: 0 });
}, 60_000);
