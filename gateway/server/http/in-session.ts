/**
 * A session's call runs on the host that has the session: here, or it is forwarded there, once, and its answer passed back as it comes.
 * **Its code is never run twice by us**: what is tried again has not reached anybody, or was refused before it ran.
 */

import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import { type Fleet, FleetUnavailable, HopMismatch, StaleRoute } from "../fleet/fleet.ts";
import type { Forwarded, HopRequest, Target } from "../fleet/hop/client.ts";
import { HOP_HEADER } from "../fleet/hop/token.ts";
import { type AppContext, type AppDeps, callSignal } from "./context.ts";
import { ServiceError } from "./errors.ts";
import { outgoingOf } from "./in-flight.ts";
import { launcherFailure } from "./launcher-failure.ts";
import { NOT_RUN_HEADER, notRunError, staleRoute } from "./not-run.ts";
import { incomingOf, toWebStream } from "./web-stream.ts";

/** A list is asked of all hosts at once. */
const ALL_ANSWER_WITHIN_MS = 2_000;
const MISDIRECTED = 421;
const FULL = 429;
/** Of a connection, or of this side's own making. */
const NOT_PASSED_ON = new Set([
  "connection",
  "content-length",
  "date",
  "expect",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-content-type-options",
  "x-request-id",
  HOP_HEADER,
  NOT_RUN_HEADER,
]);

/** `mine`: whether the call may run here, to be asked right before its code does; undefined: it may. */
type Run = (mine: (() => boolean) | undefined) => Promise<Response>;

/** Throws `ServiceError`. `run` is called again only when the code of the call before has not run. */
export async function inSession(c: AppContext, deps: AppDeps, key: SessionKey, run: Run): Promise<Response> {
  const { fleet } = deps;
  if (fleet === null) return run(undefined);
  const hop = c.get("hop");
  const signal = callSignal(c);
  const told = tellerOf(signal);
  if (hop !== undefined) return run(await fleet.received(key, hop).catch(told));
  const search = fleet.search(key, signal);
  for (;;) {
    const place = await search.next().catch(told);
    if (place.kind === "there") {
      const outcome = await forwarded(c, fleet, key, place);
      if (outcome instanceof Response) return outcome;
      await search.missed(outcome.missed).catch(told);
      continue;
    }
    try {
      return await run(place.mine);
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== "stale_route") throw error;
      await search.missed(error.message).catch(told);
    }
  }
}

/** A look at a session, or a word to it, at the host that has it; null: that is this one, or none. Throws `ServiceError`. */
export async function atItsHost(
  c: AppContext,
  { fleet }: AppDeps,
  keys: readonly SessionKey[],
): Promise<Response | null> {
  if (fleet === null || c.get("hop") !== undefined) return null;
  for (const key of keys) {
    const found = await fleet.lookFor(key).catch(tellerOf(callSignal(c)));
    if (found === null) continue;
    const outcome = await forwarded(c, fleet, key, { target: found.target, epoch: null });
    if (outcome instanceof Response) return outcome;
    throw new ServiceError("fleet_unavailable", `The session's host does not answer: ${outcome.missed}`, {
      retryAfterSeconds: 5,
    });
  }
  return null;
}

/** A call that needs no host of its own, where this one is full; null: it may run here, or wait here. Throws `ServiceError`. */
export async function whereThereIsRoom(c: AppContext, { fleet }: AppDeps): Promise<Response | null> {
  if (fleet === null || c.get("hop") !== undefined) return null;
  const target = fleet.hostWithRoom();
  if (target === null) return null;
  const outcome = await forwarded(c, fleet, null, { target, epoch: null }, [FULL]);
  return outcome instanceof Response ? outcome : null;
}

/** The answer of a host of the fleet; null: it is this one, or is not there any more. Throws `ServiceError`. */
export async function atHost(
  c: AppContext,
  { fleet }: AppDeps,
  host: string | null,
): Promise<Response | null> {
  if (fleet === null || host === null || c.get("hop") !== undefined) return null;
  const target = await fleet.hostNamed(host);
  if (target === null) return null;
  const outcome = await forwarded(c, fleet, null, { target, epoch: null });
  if (outcome instanceof Response) return outcome;
  throw new ServiceError("fleet_unavailable", `The host that has it does not answer: ${outcome.missed}`, {
    retryAfterSeconds: 5,
  });
}

/** The session was removed here: no host has anything of it any more. False: none had. Throws `ServiceError`. */
export async function forgottenByAll(c: AppContext, { fleet }: AppDeps, key: SessionKey): Promise<boolean> {
  return fleet === null ? false : fleet.forgotten(key).catch(tellerOf(callSignal(c)));
}

/** What each of the other hosts answers to the same question, as JSON; those that do not answer in time are left out. */
export async function fromOtherHosts(c: AppContext, { fleet }: AppDeps): Promise<unknown[]> {
  if (fleet === null || c.get("hop") !== undefined) return [];
  const signal = AbortSignal.any([callSignal(c), AbortSignal.timeout(ALL_ANSWER_WITHIN_MS)]);
  const ask = async (target: Target): Promise<unknown[]> => {
    try {
      const answer = await fleet.forward(null, { target, epoch: null }, { ...requestOf(c), signal });
      if (answer.kind !== "answered") return [];
      const said = await wholeOf(answer.body);
      return answer.status === 200 ? [JSON.parse(said)] : [];
    } catch {
      return [];
    }
  };
  return (await Promise.all(fleet.otherHosts().map(ask))).flat();
}

function requestOf(c: AppContext): HopRequest {
  const { traceparent } = c.get("facts");
  return {
    method: c.req.method,
    path: pathOf(c.req.url),
    headers: [
      ...passedOn(c, typeof traceparent === "string"),
      "x-request-id",
      c.get("requestId"),
      // The next host's span is below this one's.
      ...(typeof traceparent === "string" ? ["traceparent", traceparent] : []),
    ],
    body: c.get("body") ?? null,
    signal: callSignal(c),
  };
}

async function forwarded(
  c: AppContext,
  fleet: Fleet,
  key: SessionKey | null,
  place: { readonly target: Target; readonly epoch: number | null },
  missing: readonly number[] = [],
): Promise<Response | { readonly missed: string }> {
  const request = requestOf(c);
  const answer = await fleet.forward(key, place, request).catch(tellerOf(request.signal));
  if (answer.kind === "not_sent") return { missed: answer.reason };
  if (answer.kind === "lost") throw hostLost(answer.reason);
  const facts = c.get("facts");
  facts.host = place.target.host;
  const refused = refusalBefore(answer, missing);
  if (refused !== null) return { missed: refused };
  // It is in the log of the host that runs it.
  c.set("action", null);
  return passBack(c, answer);
}

type Answered = Extract<Forwarded, { kind: "answered" }>;

/** The code did not run, and may run elsewhere or later; null: it ran, or is refused for good. */
function refusalBefore({ body, headers, status }: Answered, missing: readonly number[]): string | null {
  const why = headers[NOT_RUN_HEADER] ?? (missing.includes(status) ? `status ${status}` : undefined);
  if (status !== MISDIRECTED && why === undefined) return null;
  if (body instanceof Readable) body.resume();
  return status === MISDIRECTED
    ? "the session has another host"
    : `the host that has the session did not take it (${why})`;
}

function passBack(c: AppContext, { body, headers, status }: Answered): Response {
  const passed: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || NOT_PASSED_ON.has(name)) continue;
    passed[name] = typeof value === "string" ? value : [...value];
  }
  // Of the three-digit numbers only those that another host of this kind sends.
  const code = status as ContentfulStatusCode;
  if (status === 204) return c.body(null, 204, passed);
  if (body instanceof Readable) return c.body(toWebStream(body, cutOff(c)), code, passed);
  return c.body(new Uint8Array(body), code, passed);
}

const wholeOf = (body: Answered["body"]): Promise<string> | string =>
  body instanceof Readable ? text(body) : Buffer.from(body).toString();

/** A response that breaks off must not look like one that is whole. Null: no connection is behind it. */
function cutOff(c: AppContext): (() => void) | null {
  const outgoing = outgoingOf(c);
  if (outgoing === null) return null;
  return () => {
    c.set("brokenOff", 503);
    outgoing.destroy();
  };
}

function hostLost(reason: string): ServiceError {
  return new ServiceError(
    "host_lost_during_call",
    `The host that ran the call was lost (${reason}). Its outcome is unknown, and it was not repeated`,
  );
}

/** Names and values by turns, as they came. */
function passedOn(c: AppContext, traced: boolean): string[] {
  const sent = incomingOf(c)?.rawHeaders ?? [...c.req.raw.headers].flat();
  const passed: string[] = [];
  for (let n = 0; n < sent.length; n += 2) {
    const { [n]: name = "", [n + 1]: value = "" } = sent;
    const lower = name.toLowerCase();
    if (!NOT_PASSED_ON.has(lower) && !(traced && lower === "traceparent")) passed.push(name, value);
  }
  return passed;
}

/** `https://host/v1/run?x` → `/v1/run?x`. */
function pathOf(url: string): string {
  return url.slice(url.indexOf("/", url.indexOf("://") + 3));
}

/** Throws what a caller is told of a failure; one who has hung up is told nothing. */
const tellerOf =
  (signal: AbortSignal) =>
  (error: unknown): never => {
    if (signal.aborted) throw notRunError({ kind: "cancelled" });
    if (error instanceof FleetUnavailable) {
      throw new ServiceError("fleet_unavailable", error.message, {
        retryAfterSeconds: error.retryAfterSeconds,
      });
    }
    if (error instanceof StaleRoute) throw staleRoute(error.message);
    if (error instanceof HopMismatch) throw new ServiceError("forbidden", error.message);
    throw launcherFailure(error);
  };
