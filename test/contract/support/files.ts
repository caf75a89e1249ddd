/** LibreChat's own requests for files: uploads with form-data and axios, the rest as its helpers send it. */
import { Agent } from "node:http";
import { Readable } from "node:stream";
import { z } from "zod";
import { FileEntry, loadUploader } from "../../support/librechat/clients.ts";

export interface Caller {
  readonly baseUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  /** `User-Id`, which uploads alone carry. */
  readonly userId: string;
}

export interface UploadFile {
  /** Empty parts of the path are kept: `filepath`; a plain name goes as `filename`. */
  readonly name: string;
  readonly content: string | Uint8Array | Readable;
}

export type Identity =
  | { readonly kind: "user" | "agent"; readonly id: string }
  | { readonly kind: "skill"; readonly id: string; readonly version: number; readonly readOnly?: boolean }
  | { readonly entityId: string | null };

function identityFields(identity: Identity): [string, string][] {
  if ("entityId" in identity) return identity.entityId === null ? [] : [["entity_id", identity.entityId]];
  const fields: [string, string][] = [
    ["kind", identity.kind],
    ["id", identity.id],
  ];
  if (identity.kind === "skill") {
    fields.push(["version", String(identity.version)]);
    if (identity.readOnly === true) fields.push(["read_only", "true"]);
  }
  return fields;
}

/**
 * As LibreChat does. On the agents' shared connections a time limit of axios would stay behind and end whatever call comes
 * next after five seconds.
 */
const OWN_CONNECTION = new Agent({ keepAlive: false });

async function send(caller: Caller, path: string, identity: Identity, files: readonly UploadFile[]) {
  const { axios, newForm } = loadUploader();
  const form = newForm();
  for (const [name, value] of identityFields(identity)) form.append(name, value);
  for (const { name, content } of files) {
    const stream =
      content instanceof Readable ? content : Readable.from([Buffer.from(content)], { objectMode: false });
    form.append("file", stream, name.includes("/") ? { filepath: name } : { filename: name });
  }
  return axios.post(`${caller.baseUrl}${path}`, form, {
    headers: {
      ...form.getHeaders(),
      "Content-Type": "multipart/form-data",
      "User-Agent": "LibreChat/1.0",
      "User-Id": caller.userId,
      ...caller.headers,
    },
    maxBodyLength: 150 * 1024 * 1024,
    maxContentLength: 150 * 1024 * 1024,
    timeout: 120_000,
    httpAgent: OWN_CONNECTION,
    validateStatus: () => true,
  });
}

export const Uploaded = z.object({
  message: z.literal("success"),
  session_id: z.string(),
  storage_session_id: z.string(),
  files: z.tuple([z.object({ fileId: z.string(), filename: z.string(), id: z.string(), name: z.string() })]),
});

export interface StoredFile {
  readonly id: string;
  readonly storage_session_id: string;
  readonly name: string;
}

export async function upload(caller: Caller, identity: Identity, file: UploadFile): Promise<StoredFile> {
  const answer = await send(caller, "/upload", identity, [file]);
  const { storage_session_id, files } = Uploaded.parse(answer.data);
  return { id: files[0].fileId, storage_session_id, name: files[0].filename };
}

/** For refusals: status and body as they came. */
export const tryUpload = (caller: Caller, identity: Identity, file: UploadFile) =>
  send(caller, "/upload", identity, [file]);
export const tryUploadBatch = (caller: Caller, identity: Identity, files: readonly UploadFile[]) =>
  send(caller, "/upload/batch", identity, files);

export const UploadedBatch = z.object({
  message: z.enum(["success", "partial_success"]),
  session_id: z.string(),
  storage_session_id: z.string(),
  files: z.array(
    z.object({ status: z.enum(["success", "error"]), fileId: z.string(), filename: z.string() }),
  ),
  succeeded: z.number(),
  failed: z.number(),
});

export async function uploadBatch(
  caller: Caller,
  identity: Identity,
  files: readonly UploadFile[],
): Promise<readonly StoredFile[]> {
  const answer = await send(caller, "/upload/batch", identity, files);
  const { storage_session_id, files: stored } = UploadedBatch.parse(answer.data);
  return stored.map(({ fileId, filename }) => ({ id: fileId, storage_session_id, name: filename }));
}

export async function download(
  caller: Caller,
  file: StoredFile,
  query = "",
): Promise<{ status: number; bytes: Buffer; headers: Headers }> {
  const response = await fetch(`${caller.baseUrl}/download/${file.storage_session_id}/${file.id}${query}`, {
    headers: caller.headers,
  });
  return {
    status: response.status,
    bytes: Buffer.from(await response.arrayBuffer()),
    headers: response.headers,
  };
}

export const Metadata = z.object({
  name: z.string(),
  originalFilename: z.string(),
  size: z.number(),
  lastModified: z.iso.datetime(),
  etag: z.string(),
  contentType: z.string(),
  readOnly: z.boolean(),
});

export async function metadata(caller: Caller, file: StoredFile, query = "") {
  const response = await fetch(
    `${caller.baseUrl}/sessions/${file.storage_session_id}/objects/${file.id}${query}`,
    { headers: caller.headers },
  );
  return response.ok ? Metadata.parse(await response.json()) : response.status;
}

export const ExecReply = z.looseObject({
  session_id: z.string(),
  stdout: z.string(),
  stderr: z.string(),
  files: z.array(FileEntry),
  deleted_files: z.array(z.string()).optional(),
  status: z.string().nullable(),
});

export async function exec(caller: Caller, body: object) {
  const response = await fetch(`${caller.baseUrl}/exec`, {
    method: "POST",
    headers: { "content-type": "application/json", ...caller.headers },
    body: JSON.stringify(body),
  });
  return response.ok ? ExecReply.parse(await response.json()) : response.status;
}

/** The reply of a call that must have run. */
export async function run(caller: Caller, body: object): Promise<z.infer<typeof ExecReply>> {
  const reply = await exec(caller, body);
  if (typeof reply === "number") throw new Error(`/exec answered ${reply}`);
  return reply;
}
