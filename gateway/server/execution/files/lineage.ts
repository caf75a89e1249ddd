/**
 * From the references of a request to the files of its reply, without doing anything. Both generations of references
 * are read here; what the client sent (`name`, both ids) is what it gets back for inputs that did not change.
 */
import { z } from "@hono/zod-openapi";
import { Id } from "../../../common/ids.ts";
import { LOSSES } from "../../../common/protocol/messages.ts";
import { normaliseName } from "../../files/names.ts";
import { readClaim } from "../../files/ownership.ts";
import type { LeftBehind } from "../call.ts";

/** Absent, null and empty mean the same to older clients. */
const optionalText = (max: number) =>
  z
    .string()
    .max(max)
    .nullish()
    .transform((text) => text || undefined);

const optionalId = z
  .union([Id, z.literal("")])
  .nullish()
  .transform((text) => text || undefined);

/** One entry of `files` in a request, `{id, name, storage_session_id, kind, resource_id, version}` or `{id, name, session_id}`. */
export const FileRef = z
  .object({
    id: Id,
    name: z.string().min(1).max(4096).openapi({ example: "data/sales.csv" }),
    storage_session_id: optionalId,
    session_id: optionalId,
    kind: optionalText(16),
    resource_id: optionalText(128),
    version: z.union([z.number().int().nonnegative(), z.string().max(15)]).nullish(),
    entity_id: optionalText(128),
  })
  .transform((ref, context) => {
    const storageSessionId = ref.storage_session_id ?? ref.session_id;
    if (storageSessionId === undefined) {
      context.addIssue({ code: "custom", path: ["storage_session_id"], message: "is required" });
      return z.NEVER;
    }
    const claimed = readClaim({
      kind: ref.kind,
      id: ref.resource_id,
      version: ref.version ?? undefined,
      entity_id: ref.entity_id,
    });
    if (!claimed.ok) {
      context.addIssue({ code: "custom", path: ["kind"], message: claimed.error });
      return z.NEVER;
    }
    return {
      id: ref.id,
      storageSessionId,
      /** Clients that know `storage_session_id` know `inherited` too; the others do not. */
      generation: ref.storage_session_id === undefined ? 1 : 2,
      /** As the client spelt it. */
      name: ref.name,
      claim: claimed.claim,
      /** What the client said it belongs to, given back with it. */
      identity: {
        ...(ref.kind === undefined ? {} : { kind: claimed.claim.kind }),
        ...(ref.resource_id === undefined ? {} : { resource_id: ref.resource_id }),
        ...(claimed.claim.version === null ? {} : { version: claimed.claim.version }),
      },
    };
  })
  .openapi({ type: "object" });
export type FileRef = z.output<typeof FileRef>;

/** Most references in one request. */
export const MAX_FILE_REFS = 2000;

/** A place in the data directory, and every reference that wants it, in the order of the request. */
export interface PlannedInput {
  readonly path: string;
  readonly refs: readonly FileRef[];
}

export type InputPlan =
  | { readonly ok: true; readonly inputs: readonly PlannedInput[] }
  | { readonly ok: false; readonly error: string };

/** Destinations. Which of several references gets one, what is stored decides; a name that is also a directory is refused. */
export function planInputs(refs: readonly FileRef[]): InputPlan {
  const byPath = new Map<string, FileRef[]>();
  for (const [index, ref] of refs.entries()) {
    const name = normaliseName(ref.name);
    if (!name.ok) return { ok: false, error: `files[${index}].name is invalid: ${name.reason}` };
    const rivals = byPath.get(name.name);
    if (rivals === undefined) byPath.set(name.name, [ref]);
    else rivals.push(ref);
  }
  for (const path of byPath.keys()) {
    for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1)) {
      const folder = path.slice(0, slash);
      if (byPath.has(folder)) {
        return {
          ok: false,
          error: `files: "${folder}" cannot be a file and the directory of "${path}" at once`,
        };
      }
    }
  }
  return { ok: true, inputs: [...byPath].map(([path, wanted]) => ({ path, refs: wanted })) };
}

/** What became of the inputs, by path; see `execute_reply`. */
export interface InputFates {
  readonly unchanged: readonly string[];
  readonly modified: readonly string[];
  readonly deleted: readonly string[];
}

export interface StoredOutput {
  readonly id: string;
  /** Path in the data directory. */
  readonly path: string;
  /** Name in the store. */
  readonly name: string;
}

export const ReplyFile = z
  .object({
    id: Id,
    name: z.string(),
    storage_session_id: Id,
    session_id: Id,
    inherited: z.literal(true).optional(),
    modified_from: z.object({ id: Id, storage_session_id: Id, session_id: Id }).optional(),
    kind: z.enum(["skill", "agent", "user"]).optional(),
    resource_id: z.string().optional(),
    version: z.number().optional(),
  })
  .openapi("File");
export type ReplyFile = z.infer<typeof ReplyFile>;

export const ArtifactDelivery = z
  .object({
    code: z.literal("artifact_delivery_failed"),
    status: z.enum(["partial", "failed"]),
    attempted: z.number().int(),
    delivered: z.number().int(),
    failed: z.number().int(),
  })
  .openapi("ArtifactDelivery");
export type ArtifactDelivery = z.infer<typeof ArtifactDelivery>;

/** Most names in `artifact_truncation`, and characters of each: the client drops it when there are more. */
const MAX_TRUNCATED_NAMES = 20;
const LONGEST_TRUNCATED_NAME = 256;

/** Files that limits or the file system kept back. Clients drop it unless the reasons add up to `skipped_count`. */
export const ArtifactTruncation = z
  .object({
    code: z.literal("artifact_truncated"),
    reasons: z.partialRecord(z.enum(LOSSES), z.number().int()),
    skipped: z.array(z.string()).max(MAX_TRUNCATED_NAMES),
    skipped_count: z.number().int(),
  })
  .openapi("ArtifactTruncation");
export type ArtifactTruncation = z.infer<typeof ArtifactTruncation>;

/** The part of a reply that speaks of files; optional keys are absent when they would say nothing. */
export const ReplyFiles = z.object({
  files: z.array(ReplyFile),
  deleted_files: z.array(z.string()).optional(),
  artifact_delivery: ArtifactDelivery.optional(),
  artifact_truncation: ArtifactTruncation.optional(),
});
export type ReplyFiles = z.infer<typeof ReplyFiles>;

export interface LineageFacts {
  /** The execution's own session: where its outputs are. */
  readonly sessionId: string;
  readonly inputs: readonly { readonly ref: FileRef; readonly path: string; readonly readOnly: boolean }[];
  /** Null: nobody knows, the sandbox ended before it could say. Inputs are then as they were. */
  readonly fates: InputFates | null;
  readonly outputs: readonly StoredOutput[];
  /** Files that the code left and that could not be kept, beside those left behind. */
  readonly undelivered: number;
  readonly leftBehind: Pick<LeftBehind, "paths" | "counts">;
}

function truncation({ paths, counts }: LineageFacts["leftBehind"]): ArtifactTruncation | null {
  const reasons = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  const skippedCount = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  if (skippedCount === 0 || !Number.isSafeInteger(skippedCount)) return null;
  return {
    code: "artifact_truncated",
    reasons,
    skipped: paths.slice(0, Math.min(MAX_TRUNCATED_NAMES, skippedCount)).map(shownName),
    skipped_count: skippedCount,
  };
}

/** A sandbox's word for a file, for a person. */
function shownName(path: string): string {
  const name = normaliseName(path);
  return (name.ok ? name.name : JSON.stringify(path)).slice(0, LONGEST_TRUNCATED_NAME);
}

export function traceLineage(facts: LineageFacts): ReplyFiles {
  const outputs = new Map(facts.outputs.map((output) => [output.path, output]));
  const deleted = new Set(facts.fates?.deleted ?? []);
  const generated: ReplyFile[] = [];
  const inherited: ReplyFile[] = [];
  const deletedFiles: string[] = [];

  for (const { ref, path, readOnly } of facts.inputs) {
    const origin = { id: ref.id, storage_session_id: ref.storageSessionId, session_id: ref.storageSessionId };
    const changed = readOnly ? undefined : outputs.get(path);
    outputs.delete(path);
    if (changed) generated.push({ ...produced(facts.sessionId, changed), modified_from: origin });
    else if (deleted.has(path) && !readOnly) deletedFiles.push(ref.name);
    // A change that could not be kept is told by `artifact_delivery`; the input itself is still there.
    else inherited.push({ ...origin, name: ref.name, inherited: true, ...ref.identity });
  }
  for (const output of outputs.values()) generated.push(produced(facts.sessionId, output));
  // Clients of the first generation attach whatever is listed to the message once more.
  const echo = facts.inputs.some(({ ref }) => ref.generation === 2);

  const truncated = truncation(facts.leftBehind);
  const delivered = generated.length;
  // Clients that do not know of truncation hear of all files that are missing.
  const failed = facts.undelivered + (truncated?.skipped_count ?? 0);
  return {
    // Generated files first: older clients look at the first ones only.
    files: echo ? [...generated, ...inherited] : generated,
    ...(deletedFiles.length > 0 ? { deleted_files: deletedFiles } : {}),
    ...(failed > 0
      ? {
          artifact_delivery: {
            code: "artifact_delivery_failed",
            status: delivered > 0 ? "partial" : "failed",
            attempted: delivered + failed,
            delivered,
            failed,
          },
        }
      : {}),
    ...(truncated === null ? {} : { artifact_truncation: truncated }),
  };
}

function produced(sessionId: string, output: StoredOutput): ReplyFile {
  return { id: output.id, name: output.name, storage_session_id: sessionId, session_id: sessionId };
}
