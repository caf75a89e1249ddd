/** Labels and names: what a container or volume says about itself, so that a new launcher can read it back. */
import { createHash, randomBytes } from "node:crypto";
import { DEFAULT_TENANT, SessionKey, SessionOwner } from "../../common/protocol/launcher-api.ts";
import type { EngineContainer } from "./engine.ts";

export const LABEL = {
  instance: "kernelyard.instance",
  kind: "kernelyard.kind",
  sandbox: "kernelyard.sandbox",
  session: "kernelyard.session",
  owner: "kernelyard.owner",
  profile: "kernelyard.profile",
  created: "kernelyard.created",
  /** What a checkpoint of it would be made of, as a key. */
  checkpoint: "kernelyard.checkpoint",
} as const;

/** Values of `kernelyard.kind`. */
export type Kind = "session" | "fresh" | "probe" | "template" | "session-volume";

/** 21 characters of `[A-Za-z0-9_-]`, 126 random bits. */
export function newId(): string {
  return randomBytes(16).toString("base64url").slice(0, 21);
}

export function containerName(sandboxId: string): string {
  return `kernelyard_${sandboxId}`;
}

/** One line of text per session; equal exactly when the sessions are the same. */
export function encodeSession(session: SessionKey): string {
  return session.kind === "named" ? `named:${session.tenant}:${session.name}` : `runtime:${session.digest}`;
}

/** The inverse of `encodeSession`; null for text that it never wrote. */
export function decodeSession(text: string): SessionKey | null {
  const [kind, first, second, ...more] = text.split(":");
  if (more.length > 0) return null;
  const parsed = SessionKey.safeParse(
    kind === "named" ? { kind, tenant: first, name: second } : { kind, digest: first },
  );
  if (!parsed.success || encodeSession(parsed.data) !== text) return null;
  return parsed.data;
}

/** What a container's labels say, when they say all that is needed to take it over. */
export interface Adoptable {
  readonly sandboxId: string;
  readonly containerId: string;
  readonly imageId: string;
  readonly kind: "session" | "fresh";
  readonly profile: string;
  readonly session: SessionKey | null;
  readonly owner: string | null;
  readonly createdAt: number;
  readonly checkpointKey: string | null;
}

/** Null when they do not say it all, or say what no launcher wrote. */
export function readLabels(container: EngineContainer): Adoptable | null {
  const { labels } = container;
  const kind = labels[LABEL.kind];
  const sandboxId = labels[LABEL.sandbox] ?? "";
  const createdAt = Date.parse(labels[LABEL.created] ?? "");
  const profile = labels[LABEL.profile] ?? "";
  if (kind !== "session" && kind !== "fresh") return null;
  if (!/^[A-Za-z0-9_-]{21}$/.test(sandboxId) || Number.isNaN(createdAt) || profile === "") return null;
  const session = kind === "session" ? decodeSession(labels[LABEL.session] ?? "") : null;
  if (kind === "session" && session === null) return null;
  // A launcher before us may have written none.
  const owner = SessionOwner.safeParse(labels[LABEL.owner]).data ?? null;
  const { id: containerId, imageId } = container;
  const checkpointKey = labels[LABEL.checkpoint] ?? null;
  return { sandboxId, containerId, imageId, kind, profile, session, owner, createdAt, checkpointKey };
}

/** The specification's. */
const VOLUME_PREFIX = "librechat_vol_";

/**
 * The session's Docker volume. A named session of the default tenant is `librechat_vol_{session_id}`; what follows the
 * prefix begins with `-` or `_` for the others, which a session id cannot, so that no two sessions share a name.
 */
export function volumeName(session: SessionKey): string {
  if (session.kind === "runtime") return `${VOLUME_PREFIX}_${session.digest}`;
  if (session.tenant === DEFAULT_TENANT) return VOLUME_PREFIX + session.name;
  return `${VOLUME_PREFIX}-${session.tenant}.${session.name}`;
}

/** The inverse of `volumeName`; null for a name that it never made. */
export function sessionOf(volume: string): SessionKey | null {
  if (!volume.startsWith(VOLUME_PREFIX)) return null;
  const rest = volume.slice(VOLUME_PREFIX.length);
  const [, tenant, name] = /^-([a-z0-9-]+)\.(.+)$/.exec(rest) ?? [];
  const key = rest.startsWith("_")
    ? { kind: "runtime", digest: rest.slice(1) }
    : { kind: "named", tenant: tenant ?? DEFAULT_TENANT, name: name ?? rest };
  const parsed = SessionKey.safeParse(key);
  return parsed.success && volumeName(parsed.data) === volume ? parsed.data : null;
}

/** What a data directory calls the engine's volume where another one has the first name; no `volumeName` goes on with a dot. */
export function ownVolumeName(volume: string, instance: string): string {
  return `${VOLUME_PREFIX}.${instance}.${volume.slice(VOLUME_PREFIX.length)}`;
}

/** The inverse of `ownVolumeName`; null for another name. */
export function volumeOfOwnName(name: string, instance: string): string | null {
  const own = ownVolumeName(VOLUME_PREFIX, instance);
  return name.startsWith(own) ? VOLUME_PREFIX + name.slice(own.length) : null;
}

/** Short and stable, for a device's symlink. */
export function shortDigest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
