/** The fleet's parts, loaded only where there is one: a host that is alone has none of this in its memory. */
import type { Logger } from "pino";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Settings } from "../../common/settings/read.ts";
import type { Speaker } from "./directory/directory.ts";
import { Fleet, FleetError, type FleetTimes, type LocalSessions } from "./fleet.ts";
import { makeCertificate } from "./hop/certificate.ts";
import { HopTokens } from "./hop/token.ts";
import { readSpeaker } from "./identity.ts";
import { LEASE_MARGIN_MS, LEASE_MS } from "./lease.ts";
import type { WorkspaceObjects } from "./workspaces.ts";

/** Of what hosts say to each other: raised when an older one would not understand it. */
const VERSION = "1";
/** For the first connection to the engine; afterwards it is tried in the background. */
const CONNECT_MS = 5_000;

export const FLEET_TIMES = {
  leaseMs: LEASE_MS,
  marginMs: LEASE_MARGIN_MS,
  beatMs: 2_000,
  // An owner that hears nothing serves for 7 s, or 9 in the version before: nobody claims before it has said again what it has.
  holdMs: 10_000,
  waitMs: 20_000,
  engineWaitMs: 2_000,
  askEveryMs: 200,
  believedMs: 3_000,
} as const satisfies Omit<FleetTimes, "recordMs">;

export interface OpenFleetOptions {
  /** Where files of sessions are saved for other hosts; null: nowhere. */
  readonly objects: WorkspaceObjects | null;
  readonly sessions: LocalSessions;
  readonly digestOf: (key: SessionKey) => string;
  readonly log: Logger;
}

/** Throws when this host's id cannot be read or kept. */
export type OpenFleet = (options: OpenFleetOptions) => Fleet;

/**
 * Null: this host is alone. To be called before privileges are dropped; it connects already. Rejects with `FleetError` when the engine
 * must not be used.
 */
export async function loadFleet(
  settings: Settings,
  { speaker, times = {} }: { readonly speaker?: Speaker; readonly times?: Partial<FleetTimes> } = {},
): Promise<OpenFleet | null> {
  const { fleetAddress: addr, fleetKey: secret, fleetName: fleet, fleetUrl: url } = settings;
  if (url === null || addr === null || secret === null) return null;
  const [{ ValkeyDirectory }, { HopClient, loadParser }] = await Promise.all([
    import("./directory/valkey.ts"),
    import("./hop/client.ts"),
  ]);
  const all: FleetTimes = { ...FLEET_TIMES, recordMs: settings.sessionVolumeTtlMs, ...times };
  let onReady = () => {};
  const onConnected = () => onReady();
  const directory = new ValkeyDirectory({ url, ca: settings.fleetCa, fleet, times: all, onConnected });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), CONNECT_MS);
  });
  const problem = await Promise.race([directory.connect().then(() => directory.problem()), late])
    .catch(() => "late" as const)
    .finally(() => clearTimeout(timer));
  if (problem !== null && problem !== "late") {
    await directory.close();
    throw new FleetError(`KERNELYARD_FLEET_URL: this engine cannot be used, ${problem}.`);
  }
  await loadParser();
  const certificate = makeCertificate();
  return ({ digestOf, log, objects, sessions }) => {
    const me = speaker ?? readSpeaker(settings.dataDir);
    const tokens = new HopTokens({ fleet, host: me.host, secret });
    const client = new HopClient();
    const { limits } = directory;
    const parts = {
      directory,
      limits,
      client,
      tokens,
      certificate,
      speaker: me,
      addr,
      version: VERSION,
      times: all,
    };
    const workspaceBytes = settings.workspaceMaxBytes;
    const opened = new Fleet({ ...parts, sessions, objects, workspaceBytes, digestOf, log });
    onReady = () => {
      void opened.reconnected();
      // One that was away at the start, or another one in its place.
      directory.problem().then(
        (wrong) =>
          wrong !== null && log.error(`KERNELYARD_FLEET_URL: this engine must not be relied on, ${wrong}`),
        () => {},
      );
    };
    return opened;
  };
}
