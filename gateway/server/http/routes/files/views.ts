/** How a file looks in replies. The shapes are LibreChat's; both generations find their keys in every object form. */
import { z } from "@hono/zod-openapi";
import { objectExtension } from "../../../files/names.ts";
import type { ByteRange, SessionFile } from "../../../files/store.ts";

export const DETAILS = ["simple", "summary", "full", "normalized"] as const;
export type Detail = (typeof DETAILS)[number];

const Ids = z.object({
  fileId: z.string(),
  id: z.string(),
  storage_session_id: z.string(),
  session_id: z.string(),
});

export const SummaryView = Ids.extend({
  /** `<sid>/<fid>.<ext>`: older clients find their file by this prefix. */
  name: z.string(),
  size: z.number().int(),
  lastModified: z.iso.datetime(),
  etag: z.string(),
}).openapi("FileSummary");

export const FullView = SummaryView.extend({
  metadata: z.record(z.string(), z.string()),
  versionId: z.null(),
  contentType: z.string(),
}).openapi("FileDetails");

export const NormalizedView = Ids.extend({
  name: z.string(),
  size: z.number().int(),
  contentType: z.string(),
  lastModified: z.iso.datetime(),
  read_only: z.literal(true).optional(),
}).openapi("NormalizedFile");

export const ObjectView = SummaryView.extend({
  /** Full relative path: the newest client mounts the file there on its next run. */
  originalFilename: z.string(),
  contentType: z.string(),
  readOnly: z.boolean(),
}).openapi("FileObject");

/** Ids as of the session that was asked: a linked input stays reachable through it. */
const ids = (file: SessionFile): z.infer<typeof Ids> => ({
  fileId: file.record.id,
  id: file.record.id,
  storage_session_id: file.sessionId,
  session_id: file.sessionId,
});

const objectName = (file: SessionFile): string =>
  `${file.sessionId}/${file.record.id}${objectExtension(file.name)}`;

function summary(file: SessionFile): z.infer<typeof SummaryView> {
  const { size, modifiedAt, etag } = file.record;
  return { ...ids(file), name: objectName(file), size, lastModified: modifiedAt, etag };
}

export function objectView(file: SessionFile): z.infer<typeof ObjectView> {
  const { contentType, readOnly } = file.record;
  return { ...summary(file), originalFilename: file.name, contentType, readOnly };
}

export type ListedView =
  | string
  | z.infer<typeof SummaryView>
  | z.infer<typeof FullView>
  | z.infer<typeof NormalizedView>;

export function listedView(file: SessionFile, detail: Detail): ListedView {
  const { record } = file;
  switch (detail) {
    case "simple":
      return objectName(file);
    case "summary":
      return summary(file);
    case "full":
      return {
        ...summary(file),
        metadata: {
          "content-type": record.contentType,
          "original-filename": file.name,
          ...(record.readOnly ? { "read-only": "true" } : {}),
        },
        versionId: null,
        contentType: record.contentType,
      };
    case "normalized":
      return {
        ...ids(file),
        name: file.name,
        size: record.size,
        contentType: record.contentType,
        lastModified: record.modifiedAt,
        ...(record.readOnly ? { read_only: true as const } : {}),
      };
  }
}

/** `Range: bytes=…` with one range. `whole`: none was asked for, or one we need not honour (RFC 9110, 14.2). */
export type RangeResult =
  | { readonly kind: "whole" | "unsatisfiable" }
  | ({ readonly kind: "part" } & ByteRange);

export function readRange(header: string | undefined, size: number): RangeResult {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? "");
  if (!match) return { kind: "whole" };
  const [, first = "", last = ""] = match;
  if (first === "") {
    if (last === "") return { kind: "whole" };
    const length = Math.min(Number(last), size);
    return length === 0 ? { kind: "unsatisfiable" } : { kind: "part", start: size - length, end: size - 1 };
  }
  const start = Number(first);
  if (start >= size) return { kind: "unsatisfiable" };
  if (last === "") return { kind: "part", start, end: size - 1 };
  const end = Math.min(Number(last), size - 1);
  return end < start ? { kind: "whole" } : { kind: "part", start, end };
}
