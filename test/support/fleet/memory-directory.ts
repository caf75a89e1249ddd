/**
 * In the place of Valkey, for tests of what uses a directory: the same rules as the scripts of `scripts.ts`, said in this language.
 * The suite of `test/fleet/directory.test.ts` holds for both.
 */
import {
  type Beat,
  type Checkpoint,
  type Directory,
  type DirectoryTimes,
  FORGOTTEN_MS,
  type Holding,
  type Host,
  type HostFields,
  NOTED_MS,
  type Pointed,
  RecordLost,
  type Routed,
  type Settled,
  type Speaker,
  type Why,
} from "../../../gateway/server/fleet/directory/directory.ts";

interface Lived extends Host {
  readonly nonce: string;
  readonly since: number;
  readonly joined: string;
  readonly until: number;
}

interface Entry {
  home: string | null;
  epoch: number;
  state: Settled["state"] | "claimed";
  why: Why;
  ckpt: Checkpoint | null;
  until: number;
}

function whyOf(entry: Entry | null): Why {
  if (entry === null) return "unknown";
  if (entry.state === "forgotten") return null;
  return entry.home === null ? "moved" : "host_lost";
}

export class MemoryDirectory implements Directory {
  readonly #times: DirectoryTimes;
  readonly #now: () => number;
  readonly #hosts = new Map<string, Lived>();
  readonly #entries = new Map<string, Entry>();
  readonly #noted = new Map<string, { readonly host: string; readonly until: number }>();
  #born: number | null = null;

  /** `now`: milliseconds since 1970. */
  constructor(times: DirectoryTimes, now: () => number) {
    this.#times = times;
    this.#now = now;
  }

  async beat({ host, nonce, since }: Speaker, fields: HostFields, name: string): Promise<Beat> {
    const now = this.#now();
    const before = this.#alive(host);
    if (before !== null && (before.nonce !== nonce || before.since > since)) {
      return { kind: "rival", addr: before.addr };
    }
    const joined = before?.joined ?? name;
    this.#hosts.set(host, { ...fields, id: host, nonce, since, joined, until: now + this.#times.leaseMs });
    this.#born ??= now;
    return { kind: "renewed", joined, now };
  }

  async hosts(): Promise<Host[]> {
    return [...this.#hosts.keys()].flatMap((id) => {
      const host = this.#alive(id);
      if (host === null) return [];
      const { state, addr, cert, free, sessions, version, image } = host;
      return [{ id, state, addr, cert, free, sessions, version, image }];
    });
  }

  async route(digest: string, candidate: string | null): Promise<Routed> {
    const now = this.#now();
    const entry = this.#entry(digest);
    const home = entry?.home == null ? null : this.#alive(entry.home);
    if (entry !== null && home !== null) {
      if (entry.state === "moving") return { kind: "wait", home: home.id };
      if (home.id === candidate && entry.state === "claimed") return this.#claimed(entry, home);
      if (home.id === candidate && entry.state === "idle") entry.state = "live";
      const { addr, cert, id } = home;
      return { kind: "own", ready: entry.state !== "claimed", home: id, addr, cert, epoch: entry.epoch };
    }
    const heldUntil = (this.#born ?? Number.NEGATIVE_INFINITY) + this.#times.holdMs;
    if (entry === null && now < heldUntil) return { kind: "hold", ms: heldUntil - now };
    const taker = candidate === null ? null : this.#alive(candidate);
    if (taker === null || taker.state !== "up") return { kind: "fenced" };
    const claimed: Entry = {
      home: taker.id,
      epoch: Math.max((entry?.epoch ?? 0) + 1, now),
      state: "claimed",
      why: whyOf(entry),
      ckpt: entry?.ckpt ?? null,
      until: now + this.#times.recordMs,
    };
    this.#entries.set(digest, claimed);
    return this.#claimed(claimed, taker);
  }

  async settle({ digest, host, epoch }: Holding, to: Settled): Promise<boolean> {
    const entry = this.#entry(digest);
    const leaves = to.state === "parked" || to.state === "forgotten";
    if (entry === null) throw new RecordLost();
    if (entry.epoch !== epoch) return false;
    if (entry.home !== host) return leaves && entry.home === null && entry.state === to.state;
    entry.state = to.state;
    entry.why = null;
    if (leaves) entry.home = null;
    if (to.state === "forgotten") entry.ckpt = null;
    if (to.state === "parked") entry.ckpt = to.ckpt ?? entry.ckpt;
    const { recordMs } = this.#times;
    entry.until = this.#now() + (to.state === "forgotten" ? Math.min(FORGOTTEN_MS, recordMs) : recordMs);
    return true;
  }

  async ckpt({ digest, host, epoch }: Holding, checkpoint: Checkpoint): Promise<Pointed> {
    const entry = this.#entry(digest);
    if (entry === null) throw new RecordLost();
    if (entry.home !== host || entry.epoch !== epoch) return { kind: "fenced" };
    const former = entry.ckpt?.key ?? null;
    entry.ckpt = checkpoint;
    return { kind: "set", former: former === checkpoint.key ? null : former };
  }

  async reclaim(
    { digest, host, epoch }: Holding,
    state: "claimed" | "live" | "idle",
    checkpoint: Checkpoint | null,
  ): Promise<boolean> {
    if (this.#alive(host) === null) return false;
    const entry = this.#entry(digest);
    if (entry !== null && entry.home === host && entry.epoch === epoch) {
      entry.ckpt = checkpoint ?? entry.ckpt;
      return true;
    }
    if (entry !== null && entry.epoch >= epoch) return false;
    if (entry?.home != null && entry.home !== host && this.#alive(entry.home) !== null) return false;
    const until = this.#now() + this.#times.recordMs;
    this.#entries.set(digest, {
      home: host,
      epoch,
      state,
      why: null,
      ckpt: checkpoint ?? entry?.ckpt ?? null,
      until,
    });
    return true;
  }

  async touch(digests: readonly string[]): Promise<void> {
    for (const digest of digests) {
      const entry = this.#entry(digest);
      if (entry !== null) entry.until = this.#now() + this.#times.recordMs;
    }
  }

  async note(request: string, host: string): Promise<string | null> {
    const present = this.#noted.get(request);
    if (present !== undefined && present.until > this.#now()) return present.host;
    this.#noted.set(request, { host, until: this.#now() + NOTED_MS });
    return null;
  }

  async leave({ host, nonce, since }: Speaker): Promise<void> {
    const present = this.#hosts.get(host);
    if (present?.nonce === nonce && present.since === since) this.#hosts.delete(host);
  }

  async close(): Promise<void> {}

  #alive(id: string): Lived | null {
    const host = this.#hosts.get(id);
    return host !== undefined && host.until > this.#now() ? host : null;
  }

  #entry(digest: string): Entry | null {
    const entry = this.#entries.get(digest);
    return entry !== undefined && entry.until > this.#now() ? entry : null;
  }

  #claimed({ epoch, ckpt, why }: Entry, { id, addr, cert }: Lived): Routed {
    return { kind: "claimed", home: id, addr, cert, epoch, ckpt: ckpt?.key ?? null, why };
  }
}
