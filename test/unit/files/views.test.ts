import { describe, expect, it } from "vitest";
import type { SessionFile } from "../../../gateway/server/files/store.ts";
import {
  DETAILS,
  listedView,
  objectView,
  readRange,
} from "../../../gateway/server/http/routes/files/views.ts";

const SID = "S".repeat(21);
const FID = "f".repeat(21);
const FILE: SessionFile = {
  sessionId: SID,
  owner: "o",
  name: "dir/ünï.csv",
  linked: false,
  record: {
    id: FID,
    storageSessionId: SID,
    name: "dir/ünï.csv",
    size: 3,
    etag: "abc",
    contentType: "text/csv",
    createdAt: "2026-01-02T03:04:05.000Z",
    modifiedAt: "2026-01-02T03:04:05.000Z",
    owner: "o",
    kind: "user",
    resourceId: null,
    version: null,
    readOnly: true,
    storedBy: "holder",
  },
};
const IDS = { fileId: FID, id: FID, storage_session_id: SID, session_id: SID };

describe("a listed file", () => {
  it("has the fields of each form", () => {
    const summary = {
      ...IDS,
      name: `${SID}/${FID}.csv`,
      size: 3,
      lastModified: "2026-01-02T03:04:05.000Z",
      etag: "abc",
    };
    expect(listedView(FILE, "simple")).toBe(`${SID}/${FID}.csv`);
    expect(listedView(FILE, "summary")).toEqual(summary);
    expect(listedView(FILE, "full")).toEqual({
      ...summary,
      metadata: { "content-type": "text/csv", "original-filename": "dir/ünï.csv", "read-only": "true" },
      versionId: null,
      contentType: "text/csv",
    });
    expect(listedView(FILE, "normalized")).toEqual({
      ...IDS,
      name: "dir/ünï.csv",
      size: 3,
      contentType: "text/csv",
      lastModified: "2026-01-02T03:04:05.000Z",
      read_only: true,
    });
  });

  it("names its file id in every object form", () => {
    for (const detail of DETAILS) {
      if (detail !== "simple") expect(listedView(FILE, detail)).toMatchObject(IDS);
    }
  });

  it("keeps the session it was asked through when it is a link", () => {
    const linked = { ...FILE, sessionId: "E".repeat(21), linked: true, name: "mounted" };
    expect(listedView(linked, "summary")).toMatchObject({
      name: `${"E".repeat(21)}/${FID}`,
      storage_session_id: "E".repeat(21),
    });
  });
});

it("an object has its full name and its time as JavaScript reads it", () => {
  const view = objectView(FILE);
  expect(view).toMatchObject({
    ...IDS,
    originalFilename: "dir/ünï.csv",
    readOnly: true,
    contentType: "text/csv",
  });
  expect(new Date(view.lastModified).toISOString()).toBe(FILE.record.modifiedAt);
});

it.each([
  [undefined, { kind: "whole" }],
  ["bytes=0-0", { kind: "part", start: 0, end: 0 }],
  ["bytes=2-", { kind: "part", start: 2, end: 9 }],
  ["bytes=-3", { kind: "part", start: 7, end: 9 }],
  ["bytes=-99", { kind: "part", start: 0, end: 9 }],
  ["bytes=5-99", { kind: "part", start: 5, end: 9 }],
  ["bytes=10-", { kind: "unsatisfiable" }],
  ["bytes=-0", { kind: "unsatisfiable" }],
  ["bytes=5-4", { kind: "whole" }],
  ["bytes=-", { kind: "whole" }],
  ["bytes=0-1,3-4", { kind: "whole" }],
  ["lines=0-1", { kind: "whole" }],
])("the range %j of ten bytes is %j", (header, range) => {
  expect(readRange(header, 10)).toEqual(range);
});
