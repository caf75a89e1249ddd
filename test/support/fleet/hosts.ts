/** What a host says of itself to a directory, as tests have it. */
import type { HostFields, Speaker } from "../../../gateway/server/fleet/directory/directory.ts";

export const speaker = (host: string, more: Partial<Speaker> = {}): Speaker => ({
  host,
  nonce: `nonce-of-${host}`,
  since: 1,
  ...more,
});

export const fields = (more: Partial<HostFields> = {}): HostFields => ({
  state: "up",
  addr: "10.0.0.1:3114",
  cert: "c".repeat(64),
  free: 4,
  sessions: 0,
  version: "0.1.0",
  image: null,
  ...more,
});
