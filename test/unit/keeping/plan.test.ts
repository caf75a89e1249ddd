/** What a backup takes and a restore lets in, as data. */
import { describe, expect, it } from "vitest";
import { inTheWay, partOf, strangers } from "../../../gateway/cli/keeping/layout.ts";
import { firstDifference, whyNotReadable } from "../../../gateway/cli/keeping/manifest.ts";
import { LOST_WITH_RESTORE, planBackup } from "../../../gateway/cli/keeping/plan.ts";
import { mapText, merged, SparseError, SparseReader } from "../../../gateway/cli/keeping/sparse.ts";
import { settingsFile } from "../../../gateway/cli/start/settings-file.ts";

const ID = "AbcdefghijklmnopqrstU";

describe("the plan", () => {
  it("takes who the service is first and the audit log last, images as copies, and tells sessions of their variables", () => {
    const { before, after } = planBackup({
      files: [
        "gateway/audit/audit-2026-11-26.1.jsonl",
        "gateway/audit",
        "gateway/usage.json",
        "volumes/images/librechat_vol_a.ext4",
        "volumes/images/librechat_vol_a.ext4.x.tmp",
        "volumes/template-1073741824.ext4",
        "volumes/last-use/librechat_vol_a",
        "keys/api-key",
        "keys/api-key.new/x",
        "launcher.log",
        "instance",
      ],
      withVariables: ["librechat_vol__b", "librechat_vol_a", "librechat_vol_a"],
    });
    expect(before).toEqual([
      { how: "whole", path: "gateway/usage.json" },
      { how: "whole", path: "instance" },
      { how: "whole", path: "keys/api-key" },
      { how: "image", path: "volumes/images/librechat_vol_a.ext4" },
      { how: "whole", path: "volumes/last-use/librechat_vol_a" },
      ...["_b", "a"].map((name) => ({
        how: "made",
        path: `checkpoints/awake/librechat_vol_${name}`,
        text: JSON.stringify({ state: "lost", why: LOST_WITH_RESTORE, sandbox: "" }),
      })),
    ]);
    expect(after).toEqual([{ how: "lines", path: "gateway/audit/audit-2026-11-26.1.jsonl" }]);
  });

  it.each([
    "../etc/passwd",
    "/etc/passwd",
    "keys/../../x",
    "keys/a/b",
    "gateway/files/content/B/AbcdefghijklmnopqrstU",
    "gateway/files/records.db-wal",
    "run/launcher.sock",
    "checkpoints/sessions/librechat_vol_a/pages.img",
    "volumes/images/other.ext4",
    "",
  ])("lets nothing in at %j", (path) => expect(partOf(path)).toBeNull());

  it.each(["instance", "keys/librechat-jwt.pem", `gateway/files/content/A/${ID}`])("knows %s", (path) =>
    expect(partOf(path)).not.toBeNull(),
  );

  it("names what it does not know, and what is in the way of a restore", () => {
    expect(strangers(["keys", "gateway", "gateway.log", "gateway.log.1", "run", "photos"])).toEqual([
      "photos",
    ]);
    expect(inTheWay(["launcher.lock", "backup.lock", "lost+found", "keys"])).toEqual(["keys"]);
  });
});

describe("an archive's head and manifest", () => {
  const head = {
    format: 1,
    version: "1.4.2",
    made_at: "",
    host: "",
    data_directory: "",
    instance: ID,
  };

  it.each(["1.4.2", "1.10.0", "2.0.0"])("is read by %s", (own) =>
    expect(whyNotReadable(head, own)).toBeNull(),
  );
  it.each(["1.4.1", "1.3.9", "0.9.9"])("is too new for %s", (own) =>
    expect(whyNotReadable(head, own)).toMatch(/made by Kernelyard 1\.4\.2.*with that version or a newer one/),
  );
  it("is too new by its format", () =>
    expect(whyNotReadable({ ...head, format: 2 }, "9.9.9")).not.toBeNull());

  it("tells where two lists differ first", async () => {
    const lines = async function* (...all: string[]) {
      yield* all;
    };
    expect(await firstDifference(lines("a", "b"), lines("a", "b"))).toBeNull();
    expect(await firstDifference(lines("a", "b"), lines("a", "c"))).toBe("the manifest has b, the archive c");
    expect(await firstDifference(lines("a"), lines("a", "c"))).toBe(
      "the manifest has nothing more, the archive c",
    );
  });
});

describe("a sparse file", () => {
  const extents = [
    { at: 0, bytes: 4 },
    { at: 1000, bytes: 3 },
  ];

  it("comes back in its places, however it is cut", () => {
    const body = Buffer.concat([mapText(extents, 5000), Buffer.from("abcdxyz")]);
    for (const step of [1, 3, 511, 513, 5000]) {
      const reader = new SparseReader(5000);
      const file = Buffer.alloc(5000);
      for (let at = 0; at < body.length; at += step) {
        for (const { at: to, data } of reader.read(body.subarray(at, at + step))) data.copy(file, to);
      }
      reader.end();
      expect(file.toString("latin1", 0, 4) + file.toString("latin1", 1000, 1003)).toBe("abcdxyz");
    }
  });

  it.each([
    ["no map", "what is this"],
    ["data behind its end", "1\n4000\n2000\n"],
    ["data twice", "2\n0\n10\n5\n10\n"],
  ])("with %s is refused", (_, map) => {
    const reader = new SparseReader(5000);
    expect(() => reader.read(Buffer.concat([Buffer.from(map)], 512))).toThrow(SparseError);
  });

  it("with less or more data than its map is refused", () => {
    const map = mapText(extents, 5000);
    const short = new SparseReader(5000);
    short.read(Buffer.concat([map, Buffer.from("abc")]));
    expect(() => short.end()).toThrow(SparseError);
    expect(() => new SparseReader(5000).read(Buffer.concat([map, Buffer.from("abcdxyz!")]))).toThrow(
      SparseError,
    );
  });

  it("of very many parts has the smallest holes filled", () => {
    const many = Array.from({ length: 10 }, (_, index) => ({ at: index * index * 10, bytes: 5 }));
    const few = merged(many, 4);
    expect(few.length).toBeLessThanOrEqual(4);
    expect(few.at(0)?.at).toBe(0);
    expect(few.at(-1)).toEqual(many.at(-1));
  });
});

it("a service's settings are kept without secrets and places", () => {
  const env = {
    KERNELYARD_MEMORY: "1g",
    KERNELYARD_API_KEYS: "secret",
    KERNELYARD_DATA_DIR: "/x",
    KERNELYARD_CPUS: " ",
    PATH: "/bin",
  };
  expect(settingsFile(env)).toBe("KERNELYARD_MEMORY=1g\n");
});
