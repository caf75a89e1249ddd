/**
 * The launcher's whole vocabulary: HTTP on a unix socket. The gateway can ask for a sandbox of a named profile and
 * nothing else: no image, mount, runtime or capability can be expressed here.
 *
 *   POST   /sandboxes              CreateSandbox → 201 Sandbox | 400 409 429 503 507 LauncherError
 *   GET    /sandboxes              → 200 { sandboxes: Sandbox[] }
 *   GET    /sandboxes/{id}         → 200 Sandbox (ended ones for 60 s) | 404
 *   GET    /sandboxes/{id}/stream  Upgrade: kernelyard-frames → 101, then frames both ways; a newer attach takes over
 *   POST   /sandboxes/{id}/sleep   → 200 Slept | 404 409 503 LauncherError
 *   DELETE /sandboxes/{id}?lost=…  → 204 once the container is gone (idempotent). `lost`: why, for the session's next
 *                                    sandbox to tell; without it nobody needs to be told
 *   GET    /sessions/asleep        → 200 { sessions: SleepingSession[] }
 *   POST   /sessions/forget        SessionKey → 204 once its data is gone | 404: there was none | 409 session_exists
 *   POST   /sessions/owned         OwnedQuery → 200 Owned: sessions that have data here
 *   POST   /sessions/forget-variables  ForgetVariables → 204 once what was saved of a session asleep is gone | 404: it does not
 *                                    sleep | 409 session_exists
 *   GET    /health                 → 200 LauncherHealth, also when the engine is away
 *   GET    /figures                → 200 LauncherFigures (launcher-figures.ts)
 */
import { z } from "@hono/zod-openapi";

export const UPGRADE_PROTOCOL = "kernelyard-frames";

/** The specification's rule for `session_id`. */
export const SessionName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/);
/** Tenants are named by the operator; no `.` and `_`, so that volume names stay unambiguous. */
export const TenantName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/);
export const DEFAULT_TENANT = "default";

/**
 * Which session's volume and kernel a sandbox carries. `named` is the specification's `session_id`; `runtime` is a
 * LibreChat runtime session, already reduced by the gateway to a digest of (tenant, principal, hint).
 */
export const SessionKey = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("named"), tenant: TenantName, name: SessionName }).strict(),
  z.object({ kind: z.literal("runtime"), digest: z.string().regex(/^[A-Za-z0-9-]{21}$/) }).strict(),
]);
export type SessionKey = z.infer<typeof SessionKey>;

/** Whose session it is, as a digest: whoever sees a host's labels learns no name. */
export const SessionOwner = z.string().regex(/^[A-Za-z0-9-]{21}$/);

/** `lost`: why, for the session's next sandbox to tell. */
export const ForgetVariables = z.object({ session: SessionKey, lost: z.string().min(1).max(1000) }).strict();
export type ForgetVariables = z.infer<typeof ForgetVariables>;

/** Whose sessions: of an owner (digest), or of a tenant, by its digest and by the names that sessions of keys carry. */
export const OwnedQuery = z.discriminatedUnion("of", [
  z.object({ of: z.literal("owner"), owner: SessionOwner }).strict(),
  z.object({ of: z.literal("tenant"), tenant: SessionOwner, name: TenantName }).strict(),
]);
export type OwnedQuery = z.infer<typeof OwnedQuery>;

/** Most sessions of one answer; those that were forgotten are not in the next one. */
export const MOST_OWNED = 1000;
/** `unknown`: sessions of tokens' users with data of which nobody knows whose it is, since they were last used before that was noted. */
export const Owned = z.object({ sessions: z.array(SessionKey), unknown: z.number().int() });
export type Owned = z.infer<typeof Owned>;

export const CreateSandbox = z.discriminatedUnion("kind", [
  z
    .object({
      kind: z.literal("session"),
      profile: z.string().max(64),
      session: SessionKey,
      owner: SessionOwner.optional(),
      /** Its tenant, likewise a digest. */
      tenant: SessionOwner.optional(),
    })
    .strict(),
  z.object({ kind: z.literal("fresh"), profile: z.string().max(64) }).strict(),
]);
export type CreateSandbox = z.infer<typeof CreateSandbox>;

/**
 * Why a sandbox is no more. `out_of_memory`: the kernel of the host killed it at its memory limit; `asleep`: it was saved,
 * and the session's next sandbox goes on where it was.
 */
export const SandboxEnd = z.object({
  reason: z.enum([
    "out_of_memory",
    "exited",
    "killed",
    "protocol_error",
    "engine_lost",
    "disk_failed",
    "expired",
    "asleep",
  ]),
  exit_code: z.number().int().nullable(),
  /** One sentence for logs. */
  detail: z.string().optional(),
});
export type SandboxEnd = z.infer<typeof SandboxEnd>;

export const Sandbox = z.object({
  id: z.string().regex(/^[A-Za-z0-9_-]{21}$/),
  container_id: z.string(),
  kind: z.enum(["session", "fresh"]),
  profile: z.string(),
  session: SessionKey.nullable(),
  owner: SessionOwner.nullish(),
  /** The image that runs, by digest. */
  image: z.string(),
  created_at: z.string(),
  /** True once any frame but a `hello_request` has passed: a fresh sandbox is then never given to anyone else. */
  used: z.boolean(),
  attached: z.boolean(),
  /** `cold`: started; `template`: from a checkpoint that never ran user code; `woken`: with the session's variables. */
  origin: z.enum(["cold", "template", "woken"]),
  /** Why the session's earlier variables are not there, as the end of a sentence; null from the first call on. */
  lost: z.string().max(1000).nullable(),
  ended: SandboxEnd.nullable(),
  /** What its container uses now; only of a list, and null where that cannot be seen. */
  memory_bytes: z.number().nullish(),
});
export type Sandbox = z.infer<typeof Sandbox>;

export const SandboxList = z.object({ sandboxes: z.array(Sandbox) });

export const LauncherError = z.object({
  error: z.enum([
    "bad_request",
    "unknown_profile",
    "session_exists",
    "cannot_sleep",
    "not_found",
    "host_full",
    "storage_full",
    "engine_unavailable",
    "isolation_refused",
    "sandbox_failed",
  ]),
  message: z.string(),
  /** With `session_exists`: the sandbox that carries this session now. */
  sandbox_id: z.string().optional(),
});
export type LauncherError = z.infer<typeof LauncherError>;

/** What became of the wish that a sandbox sleep: `busy` when a call runs in it or a gateway is attached. */
export const Slept = z.object({ state: z.enum(["asleep", "busy"]) });
export type Slept = z.infer<typeof Slept>;

/** A session whose variables wait on the disk for its next sandbox. */
export const SleepingSession = z.object({
  session: SessionKey,
  owner: SessionOwner.nullable(),
  asleep_ms: z.number().nonnegative(),
});
export type SleepingSession = z.infer<typeof SleepingSession>;

export const SleepingSessionList = z.object({ sessions: z.array(SleepingSession) });

/** Whether sandboxes are made from checkpoints and sessions sleep; `reason` says for a person why not, or not yet. */
export const CheckpointHealth = z.object({
  state: z.enum(["on", "preparing", "off"]),
  reason: z.string().nullable(),
  /** Sessions asleep, and the bytes of disk they take. */
  sleeping: z.number().int(),
  sleeping_bytes: z.number(),
  /** Since the launcher's start: sandboxes made from a checkpoint, and those for which that failed. */
  restored: z.number().int(),
  failed: z.number().int(),
});
export type CheckpointHealth = z.infer<typeof CheckpointHealth>;

export const LauncherHealth = z.object({
  engine: z.discriminatedUnion("state", [
    z.object({ state: z.literal("ok"), version: z.string() }),
    z.object({ state: z.literal("away"), message: z.string() }),
  ]),
  isolation: z.enum(["runsc", "runc-unsafe"]),
  runtime_version: z.string(),
  /** sha256 of the seccomp profile in force. */
  seccomp_sha256: z.string(),
  /** `loop`: session volumes have a hard size; `none`: they do not (weaker). */
  session_disk_quota: z.enum(["loop", "none"]),
  /** Why sessions cannot have their volumes at present; null when they can. */
  session_volume_problem: z.string().nullable(),
  /** Of the disk with the session volumes, in bytes; null when it does not say. */
  disk: z.object({ total: z.number(), free: z.number(), reserve: z.number() }).nullable(),
  /** The last session that wanted to be awake had to wait: the disk's free space is promised to those that are. */
  disk_promised: z.boolean(),
  profiles: z.array(z.object({ name: z.string(), image: z.string(), digest: z.string() })),
  /** Bytes of memory that sandboxes may take together, and what one takes (limit and gVisor's own share). */
  memory_budget_bytes: z.number(),
  sandbox_memory_bytes: z.number(),
  sandboxes: z.number().int(),
  capacity: z.number().int(),
  checkpoints: CheckpointHealth,
});
export type LauncherHealth = z.infer<typeof LauncherHealth>;
