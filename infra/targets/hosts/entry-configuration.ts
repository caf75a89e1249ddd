/**
 * What HAProxy is told: one address in front of several gateways. Pure text. Any of them serves any call, so a call goes to the one
 * that has fewest; one whose `/health` is not 200 gets no new call and keeps those it has. Nothing is sent twice: a call that was
 * begun may have run code. Bodies and streams pass as they come.
 */

import type { ErrorCode } from "../../../gateway/server/http/errors.ts";
import { CONNECTION_LIMITS } from "../../../gateway/server/http/intake/connections.ts";

export interface EntryServer {
  /** The machine's. */
  readonly name: string;
  /** Name, or address without brackets. */
  readonly address: string;
  readonly port: number;
}

export interface EntryConfiguration {
  /** `ADDRESS:PORT`, or `:PORT`. */
  readonly bind: string;
  readonly servers: readonly EntryServer[];
  /** A connection on which a call waits and runs is silent for so long at most. */
  readonly silentMs: number;
}

/** Between the end of the longest call and giving up on a silent connection. */
const SPARE_MS = 60_000;
const MOST_CONNECTIONS = 4_000;
/** Of a gateway's own, for probes and for those who call it directly. */
const OTHER_CONNECTIONS = 64;
const RETRY_AFTER_SECONDS = 5;

const isAddress = (address: string) => /^[0-9.]+$|:/.test(address);
const inLine = (address: string) => (address.includes(":") ? `[${address}]` : address);

/** As a gateway says it. */
const said = (error: ErrorCode, message: string) =>
  `'${JSON.stringify({ error, message, retry_after_seconds: RETRY_AFTER_SECONDS })}' hdr Retry-After ${RETRY_AFTER_SECONDS}`;
const AWAY = said("fleet_unavailable", "No machine takes calls at present; please try again");
const LOST = said(
  "host_lost_during_call",
  "The machine was lost while the call ran on it; whether its code ran to its end is unknown, and it was not repeated",
);

export function entryConfiguration({ bind, servers, silentMs }: EntryConfiguration): string {
  const silent = silentMs + SPARE_MS;
  const named = servers.some(({ address }) => !isAddress(address));
  const each = (server: EntryServer) =>
    `  server ${server.name} ${inLine(server.address)}:${server.port}${isAddress(server.address) ? "" : " resolvers names init-addr none resolve-prefer ipv4"}`;
  return `global
  log stdout format raw daemon notice
  maxconn ${MOST_CONNECTIONS}
  # Calls that the former configuration has end in it.
  hard-stop-after ${silent}ms

defaults
  mode http
  log global
  option httplog
  # What went well is in the gateways' logs.
  option dontlog-normal
  # Whoever hangs up ends the call, wherever it is.
  option abortonclose
  option http-no-delay
  # A call is never sent on a connection that its gateway may be closing.
  option http-server-close
  # Only a connection that was not made is tried again, at another machine.
  retries 3
  retry-on conn-failure
  option redispatch 1
  timeout connect 3s
  timeout queue ${CONNECTION_LIMITS.headerMs}ms
  timeout http-request ${CONNECTION_LIMITS.headerMs}ms
  timeout client ${silent}ms
  timeout server ${silent}ms
  timeout http-keep-alive ${silent}ms
  timeout client-fin 30s
  timeout server-fin 30s
  timeout check 10s
  http-error status 502 content-type application/json string ${LOST}
  http-error status 503 content-type application/json string ${AWAY}
  http-error status 504 content-type application/json string ${LOST}
${named ? "\nresolvers names\n  parse-resolv-conf\n  hold valid 10s\n" : ""}
frontend entry
  bind ${bind}
  default_backend hosts

backend hosts
  balance leastconn
  option httpchk
  # By itself the check is HTTP/1.0 without a Host, which a gateway refuses.
  http-check send meth GET uri /health ver HTTP/1.1 hdr Host kernelyard
  http-check expect status 200
  default-server check inter 2s fastinter 500ms downinter 2s fall 2 rise 2 maxconn ${CONNECTION_LIMITS.most - OTHER_CONNECTIONS}
${servers.map(each).join("\n")}
`;
}
