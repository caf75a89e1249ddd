/**
 * Who has which session, for several hosts. Two things are shared and change: a session's record and, in it, the pointer to its
 * checkpoint; both only by compare-and-set on (home, epoch). One rule makes it safe: **a record whose home's lease is alive is
 * changed by its home alone.**
 */
import { z } from "@hono/zod-openapi";

/** `draining`: keeps what it has, and takes nothing more. */
export const HostState = z.enum(["up", "draining"]);
export type HostState = z.infer<typeof HostState>;

/** What a host says of itself with each beat. */
export const HostFields = z.object({
  state: HostState,
  /** Where other hosts reach it, `host:port`. */
  addr: z.string(),
  /** SHA-256 of the certificate that it has there, in hex. */
  cert: z.string(),
  /** Sandboxes that fit beside those that run, and sessions with a kernel. */
  free: z.number().int(),
  sessions: z.number().int(),
  version: z.string(),
  /** Digest of the image that its sandboxes have; null while it is not known. */
  image: z.string().nullable(),
});
export type HostFields = z.infer<typeof HostFields>;

/** A host whose lease is alive. */
export interface Host extends HostFields {
  readonly id: string;
}

/** Which process of which machine speaks for a host. */
export interface Speaker {
  readonly host: string;
  /** Of the machine, since it was started: a copied disk is noticed, a gateway that is started again goes on. */
  readonly nonce: string;
  /** Milliseconds since 1970 of the process' start: of two on one machine the later one counts. */
  readonly since: number;
}

export const Beat = z.discriminatedUnion("kind", [
  /** `joined`: names the lease, from its first beat on; another one than before: it had ended meanwhile. `now`: the engine's clock, in ms. */
  z.object({ kind: z.literal("renewed"), joined: z.string(), now: z.number() }),
  /** Another speaker has this host, at that address. */
  z.object({ kind: z.literal("rival"), addr: z.string() }),
]);
export type Beat = z.infer<typeof Beat>;

/** Why a session has another home than before. */
export const Move = z.enum(["host_lost", "moved"]);
export type Move = z.infer<typeof Move>;
const Why = z.union([Move, z.literal("unknown")]).nullable();
export type Why = z.infer<typeof Why>;

const Home = { home: z.string(), addr: z.string(), cert: z.string(), epoch: z.number().int() };

export const Routed = z.discriminatedUnion("kind", [
  /** `ready`: its files are there. */
  z.object({ kind: z.literal("own"), ready: z.boolean(), ...Home }),
  /**
   * The candidate has it from now on, and says `live` when its files are there. Until then it is told the same again. `ckpt`: they
   * are in this object. `why`: another host had it; `unknown`: nothing is known of it, which is what a new one and an engine that lost its data
   * have in common; null: nobody has anything of it.
   */
  z.object({ kind: z.literal("claimed"), ...Home, ckpt: z.string().nullable(), why: Why }),
  /** Its home is putting it away. */
  z.object({ kind: z.literal("wait"), home: z.string() }),
  /** The engine lost its data: owners may still say that they have it, for so long. */
  z.object({ kind: z.literal("hold"), ms: z.number() }),
  /** It is nobody's, and there is no candidate, or it has no lease, or it takes nothing more. */
  z.object({ kind: z.literal("fenced") }),
]);
export type Routed = z.infer<typeof Routed>;

export interface Checkpoint {
  readonly key: string;
  readonly bytes: number;
}

/**
 * What a home says of its session. `live`: it has a kernel, or will have one. `idle`: only its files are left. `moving`: it is being put
 * away, and calls wait. `parked`: nobody has it; its files are in the checkpoint. `forgotten`: nobody has it, and it has no files.
 */
export type Settled =
  | { readonly state: "live" | "idle" | "moving" | "forgotten" }
  | {
      readonly state: "parked";
      /** Null: the one before is the newest there is. */
      readonly ckpt: Checkpoint | null;
    };

export const Pointed = z.discriminatedUnion("kind", [
  /** `former`: points nowhere any more, and can be deleted. */
  z.object({ kind: z.literal("set"), former: z.string().nullable() }),
  z.object({ kind: z.literal("fenced") }),
]);
export type Pointed = z.infer<typeof Pointed>;

/** A session that a host holds. */
export interface Holding {
  readonly digest: string;
  readonly host: string;
  readonly epoch: number;
}

/** Everything rejects with `DirectoryUnavailable` alone, and may be said again: an answer that was lost changes nothing. */
export interface Directory {
  /** Renews the host's lease, or begins one that is called `name` (no two are called the same). */
  beat(speaker: Speaker, fields: HostFields, name: string): Promise<Beat>;
  /** Hosts whose lease is alive. */
  hosts(): Promise<Host[]>;
  /** Whose the session is; the candidate's, when it is nobody's. Null: nothing changes, it is only looked at. */
  route(digest: string, candidate: string | null): Promise<Routed>;
  /** False: it is not this host's in this epoch. Rejects with `RecordLost` when there is nothing of the session: nobody else has it, either. */
  settle(holding: Holding, to: Settled): Promise<boolean>;
  /** Points the session at a newer checkpoint. Rejects likewise. */
  ckpt(holding: Holding, checkpoint: Checkpoint): Promise<Pointed>;
  /**
   * Says again what the engine may have lost, the checkpoint with it (null: this host knows of none). Only for what was held with a lease that has
   * not lapsed since. False: somebody else has it, or had it later.
   */
  reclaim(
    holding: Holding,
    state: "claimed" | "live" | "idle",
    checkpoint: Checkpoint | null,
  ): Promise<boolean>;
  /** These were used: their records last on. */
  touch(digests: readonly string[]): Promise<void>;
  /** Notes once where a request is (`host`), and for how long; what was noted of it before, or null. */
  note(request: string, host: string): Promise<string | null>;
  /** The host's lease ends now. */
  leave(speaker: Speaker): Promise<void>;
  close(): Promise<void>;
}

export class DirectoryUnavailable extends Error {
  override readonly name: string = "DirectoryUnavailable";
}

/** The engine lost its data, and this host has not said yet that it has the session: nothing was changed. */
export class RecordLost extends DirectoryUnavailable {
  override readonly name = "RecordLost";

  constructor() {
    super("The fleet's directory has lost what it knew of the session");
  }
}

/** Who asks for a session meanwhile is told that it was forgotten. Names that nobody ever used are forgotten as well. */
export const FORGOTTEN_MS = 3_600_000;

/** A request is looked for as long as a program may wait for its tools. */
export const NOTED_MS = 900_000;

export interface DirectoryTimes {
  /** A host's lease, from its beat on. */
  readonly leaseMs: number;
  /** After the first beat of an empty engine nothing is claimed for so long: longer than an owner serves without a beat. */
  readonly holdMs: number;
  /** Of a session's record, after its last use. */
  readonly recordMs: number;
}
