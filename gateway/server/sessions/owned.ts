/** A principal's own sessions, and nobody else's: found by the id that replies give, or the name that calls use. */
import { SessionKey, SessionName } from "../../common/protocol/launcher-api.ts";
import { callerOf, type Principal } from "../auth/principal.ts";
import type { Registry } from "./registry.ts";
import type { Session } from "./session.ts";
import { namedSessionKey, ownerOf } from "./session-key.ts";

/** What an id may mean that replies give or that calls use; whose it is, whoever has the session looks at. */
export function sessionKeysOf(principal: Principal, id: string): SessionKey[] {
  const byId = SessionKey.safeParse({ kind: "runtime", digest: id });
  const byName = SessionName.safeParse(id).success ? [namedSessionKey(principal, id)] : [];
  return byId.success ? [byId.data, ...byName] : byName;
}

export class OwnedSessions {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Those that were used, adopted or found asleep since this gateway's start, last used first. */
  list(principal: Principal): Session[] {
    return this.#registry
      .ownedBy(ownerOf(callerOf(principal)))
      .sort((one, other) => other.lastUsedAt - one.lastUsedAt);
  }

  /** `id`: a `runtime_session_id`, or the `session_id` of `POST /run`. Null: this principal has none of that id here. */
  find(principal: Principal, id: string): Session | null {
    const byId = SessionKey.safeParse({ kind: "runtime", digest: id });
    const session = byId.success ? this.#registry.find(byId.data) : null;
    if (session !== null && session.owner === ownerOf(callerOf(principal))) return session;
    const key = this.#keyOf(principal, id);
    return key === null ? null : this.#registry.find(key);
  }

  /** Also one that only has files: a name is enough to be its owner's. */
  findOrRemember(principal: Principal, id: string): Session | null {
    const found = this.find(principal, id);
    if (found !== null) return found;
    const key = this.#keyOf(principal, id);
    return key === null ? null : this.#registry.session(key);
  }

  #keyOf(principal: Principal, name: string): SessionKey | null {
    return SessionName.safeParse(name).success ? namedSessionKey(principal, name) : null;
  }
}
