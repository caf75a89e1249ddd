/** A multipart upload, read as it comes: fields into memory (a few, short), files straight into the store. */
import { IncomingMessage } from "node:http";
import { finished, type Readable, type Writable } from "node:stream";
import busboy from "busboy";
import { declaredContentType } from "./content-type.ts";
import { decodePartFilename, normaliseName } from "./names.ts";
import { type FileStore, FileStoreError, type Holder, type StagedFile } from "./store.ts";

const FIELDS = ["kind", "id", "version", "entity_id", "read_only"] as const;
export type UploadField = (typeof FIELDS)[number];

const MAX_FIELDS = 32;
const MAX_FIELD_BYTES = 1024;
/** Bytes of refused files that are read and thrown away, so that the client is there to hear why. */
const MAX_DISCARDED_BYTES = 256 * 1024 * 1024;

/** The body is not a multipart form that can be read. */
export class MultipartError extends Error {
  override readonly name = "MultipartError";
}

export interface AcceptedPart {
  readonly accepted: true;
  /** As the client spelt it; replies repeat it. */
  readonly filename: string;
  readonly name: string;
  readonly contentType: string;
  readonly staged: StagedFile;
}

export interface RefusedPart {
  readonly accepted: false;
  readonly filename: string;
  readonly reason: "too_large" | "bad_name";
  readonly message: string;
}

export interface Upload {
  readonly fields: Readonly<Partial<Record<UploadField, string>>>;
  /** In the order of the form. */
  readonly parts: readonly (AcceptedPart | RefusedPart)[];
  /** There were more files than allowed; the rest was not read. */
  readonly filesLimitReached: boolean;
}

export interface UploadLimits {
  readonly maxFiles: number;
  readonly maxFileBytes: number;
  readonly holder: Holder;
}

/** The client went away before the end of the form. */
const GONE: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE"]);

const isField = (name: string): name is UploadField => (FIELDS as readonly string[]).includes(name);

/**
 * Stages every file of the form. The caller commits or discards what was accepted. Throws `MultipartError` (also when
 * the client hung up) or `FileStoreError`; then nothing is left.
 */
export async function receiveUpload(
  source: Readable,
  contentType: string,
  store: FileStore,
  limits: UploadLimits,
): Promise<Upload> {
  const parser = createParser(contentType, limits);
  const fields: Partial<Record<UploadField, string>> = {};
  const receiving: Promise<Received>[] = [];
  let filesLimitReached = false;
  let discarded = 0;

  const discard = (stream: Readable) => {
    stream.on("data", (chunk: Buffer) => {
      discarded += chunk.length;
      if (discarded > MAX_DISCARDED_BYTES) {
        parser.destroy(new FileStoreError("too_large", `a file is larger than ${limits.maxFileBytes} bytes`));
      }
    });
    stream.resume();
  };

  parser.on("field", (name, value, info) => {
    if (!isField(name)) return;
    if (info.valueTruncated) parser.destroy(new MultipartError(`the field ${name} is too long`));
    else fields[name] = value;
  });
  parser.on("fieldsLimit", () => parser.destroy(new MultipartError(`more than ${MAX_FIELDS} fields`)));
  parser.on("filesLimit", () => {
    filesLimitReached = true;
  });
  parser.on("file", (_field, stream, info) => {
    // A destroyed form destroys its file; whoever reads the file learns it from the reading.
    stream.on("error", () => {});
    const filename = decodePartFilename(info.filename ?? "");
    receiving.push(
      receiveFile(stream, filename, info.mimeType).then((received) => {
        if (received.failed !== undefined) parser.destroy(received.failed);
        else if (!received.part.accepted) discard(stream);
        return received;
      }),
    );
  });

  const receiveFile = async (stream: Readable, filename: string, mimeType: string): Promise<Received> => {
    const name = normaliseName(filename);
    if (!name.ok) {
      return {
        part: { accepted: false, filename, reason: "bad_name", message: `Invalid file name: ${name.reason}` },
      };
    }
    try {
      // The parser needs its file stream alive to the end, also when the store has had enough.
      const bytes = stream.iterator({ destroyOnReturn: false });
      const { holder, maxFileBytes: maxBytes } = limits;
      const staged = await store.stage(bytes, { maxBytes, holder });
      const contentType = declaredContentType(mimeType, name.name);
      return { part: { accepted: true, filename, name: name.name, contentType, staged } };
    } catch (error) {
      if (error instanceof FileStoreError && error.code === "too_large") {
        return {
          part: { accepted: false, filename, reason: "too_large", message: "File size limit exceeded" },
        };
      }
      return { failed: error instanceof Error ? error : new Error(String(error)) };
    }
  };

  let failure: { readonly error: unknown } | null = null;
  try {
    await feed(source, parser);
  } catch (error) {
    failure = { error };
  }
  const received = await Promise.all(receiving);
  const parts = received.flatMap(({ part }) => (part ? [part] : []));
  // A file can fail at its very end, when the form has been read to its own.
  const broken = received.find(({ failed }) => failed !== undefined)?.failed;
  if (broken !== undefined) failure ??= { error: broken };
  if (failure) {
    for (const part of parts) if (part.accepted) await store.discard(part.staged);
    throw readable(failure.error);
  }
  return { fields, parts, filesLimitReached };
}

/**
 * As `pipeline`, except that a form that cannot be read leaves the connection open: destroying a request's stream cuts
 * it, and the client would never hear why. What is left unread is the server's to drain.
 */
function feed(source: Readable, parser: Writable): Promise<void> {
  return new Promise((resolve, reject) => {
    finished(source, { writable: false }, (error) => {
      if (error) parser.destroy(error);
    });
    finished(parser, { readable: false }, (error) => {
      if (!error) {
        resolve();
        return;
      }
      source.unpipe(parser);
      source.on("error", () => {});
      if (source instanceof IncomingMessage) source.pause();
      else source.destroy();
      reject(error);
    });
    source.pipe(parser);
  });
}

type Received =
  | { readonly part: AcceptedPart | RefusedPart; readonly failed?: undefined }
  | { readonly part?: undefined; readonly failed: Error };

function createParser(contentType: string, limits: UploadLimits): busboy.Busboy {
  if (!/^multipart\/form-data\b/i.test(contentType)) {
    throw new MultipartError("Content-Type must be multipart/form-data");
  }
  try {
    return busboy({
      headers: { "content-type": contentType },
      preservePath: true,
      defParamCharset: "utf8",
      fileHwm: 256 * 1024,
      limits: {
        files: limits.maxFiles,
        fields: MAX_FIELDS,
        fieldSize: MAX_FIELD_BYTES,
        fieldNameSize: 100,
        headerPairs: 32,
      },
    });
  } catch (error) {
    throw new MultipartError(error instanceof Error ? error.message : "the form cannot be read");
  }
}

/** The parser's own complaints are about the form; everything else speaks for itself. */
function readable(error: unknown): unknown {
  if (error instanceof FileStoreError || error instanceof MultipartError) return error;
  if (!(error instanceof Error)) return error;
  if (!("code" in error)) return new MultipartError(error.message, { cause: error });
  return GONE.has(error.code) ? new MultipartError("the upload broke off", { cause: error }) : error;
}
