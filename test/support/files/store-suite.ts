/** What every `FileStore` promises. Run against each store by a test of its own. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { newId } from "../../../gateway/common/ids.ts";
import { type FileRecord, type FileStore, FileStoreError } from "../../../gateway/server/files/store.ts";
import { newFile } from "./new-file.ts";
import { chunks, DAY_MS, NO_LIMIT, put, text } from "./store.ts";

/** A place for files, used by one test. */
export interface FilePlace {
  /** Opens the store there; the end of the test closes it. */
  open(options?: { readonly now?: () => number; readonly sweepEveryMs?: number }): Promise<FileStore>;
  /** Ids of all bytes there, finished or not. */
  contentIds(): Promise<string[]>;
  loseContent(id: string): Promise<void>;
  /** A store with a clock of its own: makes it believe that the file was written then. */
  setWritten?(record: FileRecord, atMs: number): Promise<void>;
  /** Bytes without a record. */
  addContent(id: string): Promise<void>;
}

export interface SuiteOptions {
  /** Age at which bytes without a record are taken for lost. */
  readonly orphanAgeMs: number;
}

export function describeFileStore(makePlace: () => Promise<FilePlace>, { orphanAgeMs }: SuiteOptions): void {
  describe("a committed file", () => {
    it("is found with everything it was given, its size and its sha256", async () => {
      const place = await makePlace();
      const store = await place.open({ now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6) });
      const file = newFile({
        kind: "skill",
        resourceId: "pptx",
        version: 7,
        readOnly: true,
        name: "skills/é 日本.py",
      });
      const staged = await store.stage(chunks("hel", "lo"), NO_LIMIT);
      const [record] = await store.commit([{ staged, file }]);

      expect(record).toEqual({
        ...file,
        id: expect.stringMatching(/^[A-Za-z0-9_-]{21}$/),
        size: 5,
        etag: createHash("sha256").update("hello").digest("hex"),
        createdAt: "2026-01-02T03:04:05.006Z",
        modifiedAt: "2026-01-02T03:04:05.006Z",
      });
      const found = await store.find(file.storageSessionId, staged.id);
      expect(found).toEqual({
        record,
        sessionId: file.storageSessionId,
        owner: file.owner,
        name: file.name,
        linked: false,
      });
    });

    it("is read back whole and by range, empty and large ones too", async () => {
      const place = await makePlace();
      const store = await place.open();
      const large = Buffer.alloc(3 * 1024 * 1024 + 17, "abcdefg");
      const record = await put(store, large);
      const empty = await put(store, "");

      expect(await text(await store.open(record))).toBe(large.toString());
      expect(await text(await store.open(record, { start: 7, end: 9 }))).toBe("abc");
      expect(empty.size).toBe(0);
      expect(await text(await store.open(empty))).toBe("");
    });

    it("is not found in another session", async () => {
      const place = await makePlace();
      const store = await place.open();
      const record = await put(store, "x");
      expect(await store.find(newId(), record.id)).toBeNull();
      expect(await store.list(newId())).toEqual([]);
    });

    it("is listed after older ones and after linked inputs, so that of two with one name the newer is the last", async () => {
      let now = Date.UTC(2026, 0, 1);
      const place = await makePlace();
      const store = await place.open({ now: () => now });
      const sessionId = newId();
      const input = await put(store, "input", { name: "same.txt" });
      const own: string[] = [];
      for (const content of ["first", "second", "third", "fourth"]) {
        now += 1000;
        own.push((await put(store, content, { storageSessionId: sessionId, name: "same.txt" })).id);
      }
      now += 1000;
      await store.link([{ sessionId, fileId: input.id, owner: input.owner, name: "same.txt" }]);
      expect((await store.list(sessionId)).map(({ record }) => record.id)).toEqual([input.id, ...own]);
    });

    it("survives closing and opening", async () => {
      const place = await makePlace();
      const first = await place.open();
      const record = await put(first, "kept");
      await first.close();
      const second = await place.open();
      expect((await second.find(record.storageSessionId, record.id))?.record).toEqual(record);
      expect(await text(await second.open(record))).toBe("kept");
    });

    it("is one of many that are committed together, all or none", async () => {
      const place = await makePlace();
      const store = await place.open();
      const storageSessionId = newId();
      const staged = await Promise.all(
        ["1", "2", "3"].map((content) => store.stage(chunks(content), NO_LIMIT)),
      );
      const files = staged.map((one, index) => ({
        staged: one,
        file: newFile({ storageSessionId, name: `${index}` }),
      }));
      await expect(
        store.commit([...files, { staged: { id: newId(), size: 1, etag: "" }, file: newFile() }]),
      ).rejects.toThrow();
      expect(await store.list(storageSessionId)).toEqual([]);
      expect(await place.contentIds()).toEqual([]);
    });

    it("is removed once, with its bytes", async () => {
      const place = await makePlace();
      const store = await place.open();
      const record = await put(store, "x");
      expect(await store.remove(newId(), record.id)).toBe(false);
      expect(await store.remove(record.storageSessionId, record.id)).toBe(true);
      expect(await store.remove(record.storageSessionId, record.id)).toBe(false);
      expect(await store.open(record)).toBeNull();
      expect(await place.contentIds()).toEqual([]);
    });

    it("is read to its end by a reader that began before it was removed", async () => {
      const place = await makePlace();
      const store = await place.open();
      const record = await put(store, "still here");
      const stream = await store.open(record);
      await store.remove(record.storageSessionId, record.id);
      expect(await text(stream)).toBe("still here");
    });
  });

  describe("accounts", () => {
    it("say what each holder and all of them have stored, and give back what is removed", async () => {
      const place = await makePlace();
      const store = await place.open();
      const first = await put(store, "12345", { storedBy: "holder-a" });
      await put(store, "123", { storedBy: "holder-a" });
      await put(store, "1", { storedBy: "holder-b" });
      expect(await store.usage("holder-a")).toEqual({ bytes: 8, files: 2 });
      expect(await store.usage("holder-c")).toEqual({ bytes: 0, files: 0 });
      expect(await store.usage(null)).toEqual({ bytes: 9, files: 3 });
      await store.remove(first.storageSessionId, first.id);
      await put(store, "12", { storedBy: "holder-c" });
      expect(await store.usage("holder-a")).toEqual({ bytes: 3, files: 1 });
      expect(await store.usage("holder-c")).toEqual({ bytes: 2, files: 1 });
      expect(await store.usage(null)).toEqual({ bytes: 6, files: 3 });
    });
  });

  describe("staging", () => {
    it("refuses more bytes than allowed and leaves nothing", async () => {
      const place = await makePlace();
      const store = await place.open();
      await expect(store.stage(chunks("12345", "6"), { ...NO_LIMIT, maxBytes: 5 })).rejects.toMatchObject({
        code: "too_large",
      });
      expect((await store.stage(chunks("12345"), { ...NO_LIMIT, maxBytes: 5 })).size).toBe(5);
      expect(await place.contentIds()).toHaveLength(1);
    });

    it("passes on the source's error and leaves nothing", async () => {
      const place = await makePlace();
      const store = await place.open();
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield Buffer.from("half");
        throw new Error("client hung up");
      }
      await expect(store.stage(broken(), NO_LIMIT)).rejects.toThrow("client hung up");
      expect(await place.contentIds()).toEqual([]);
    });

    it("can be discarded", async () => {
      const place = await makePlace();
      const store = await place.open();
      await store.discard(await store.stage(chunks("x"), NO_LIMIT));
      expect(await place.contentIds()).toEqual([]);
    });
  });

  describe("links", () => {
    it("show an input in the session of the execution that saw it", async () => {
      const place = await makePlace();
      const store = await place.open();
      const input = await put(store, "in", { owner: "t:agent:a", name: "in.txt" });
      const sessionId = newId();
      const output = await put(store, "out", { storageSessionId: sessionId, name: "out.txt" });
      await store.link([
        { sessionId, fileId: input.id, owner: "t:user:u", name: "mounted.txt" },
        { sessionId, fileId: newId(), owner: "t:user:u", name: "gone.txt" },
      ]);

      const listed = await store.list(sessionId);
      expect(listed.map(({ name, linked, owner }) => ({ name, linked, owner }))).toEqual([
        { name: "mounted.txt", linked: true, owner: "t:user:u" },
        { name: "out.txt", linked: false, owner: output.owner },
      ]);
      expect((await store.find(sessionId, input.id))?.record).toEqual(input);
    });

    it("are removed without the file, and go with it", async () => {
      const place = await makePlace();
      const store = await place.open();
      const input = await put(store, "in");
      const [a, b] = [newId(), newId()];
      for (const sessionId of [a, b])
        await store.link([{ sessionId, fileId: input.id, owner: "o", name: "n" }]);
      expect(await store.remove(a, input.id)).toBe(true);
      expect(await store.find(input.storageSessionId, input.id)).not.toBeNull();
      expect(await store.list(a)).toEqual([]);
      await store.remove(input.storageSessionId, input.id);
      expect(await store.list(b)).toEqual([]);
    });
  });

  describe("the sweep", () => {
    it("removes files after their time, which are not served meanwhile", async () => {
      let now = Date.now();
      const place = await makePlace();
      const store = await place.open({ now: () => now });
      const old = await Promise.all(Array.from({ length: 450 }, () => put(store, "old")));
      now += DAY_MS - 60_000;
      const young = await put(store, "young");
      await place.setWritten?.(young, now);
      expect(await store.find(old[0]?.storageSessionId ?? "", old[0]?.id ?? "")).not.toBeNull();
      now += 20 * 60_000;
      expect(await store.find(old[0]?.storageSessionId ?? "", old[0]?.id ?? "")).toBeNull();
      expect(await store.sweep()).toEqual({ expired: 450, orphanedContent: 0, orphanedRecords: 0 });
      expect(await place.contentIds()).toEqual([young.id]);
    });

    it("removes content that nobody owns and records without content, and nothing in flight", async () => {
      let now = Date.now();
      const place = await makePlace();
      const store = await place.open({ now: () => now });
      const kept = await put(store, "kept");
      const lost = await put(store, "lost");
      await place.loseContent(lost.id);
      await place.addContent(newId());
      now += orphanAgeMs + 60_000;
      const staged = await store.stage(chunks("in flight"), NO_LIMIT);

      expect(await store.sweep()).toEqual({ expired: 0, orphanedContent: 1, orphanedRecords: 1 });
      expect((await place.contentIds()).sort()).toEqual([kept.id, staged.id].sort());
      expect(await store.find(lost.storageSessionId, lost.id)).toBeNull();
      const [record] = await store.commit([{ staged, file: newFile() }]);
      expect(record && (await text(await store.open(record)))).toBe("in flight");
    });

    it("runs by itself when the store opens", async () => {
      const place = await makePlace();
      const first = await place.open();
      await first.stage(chunks("never committed"), NO_LIMIT);
      await first.close();
      const second = await place.open({
        sweepEveryMs: 60_000,
        now: () => Date.now() + orphanAgeMs + 60_000,
      });
      await second.sweep();
      expect(await place.contentIds()).toEqual([]);
    });
  });

  it("a closed store says so", async () => {
    const place = await makePlace();
    const store = await place.open();
    await store.close();
    await expect(store.stage(chunks("x"), NO_LIMIT)).rejects.toThrow(FileStoreError);
    await expect(store.find(newId(), newId())).rejects.toMatchObject({ code: "closed" });
  });
}
