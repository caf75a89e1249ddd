/** Whether this host could take part in its fleet: the engine, the clock, and every other host by its own port. */
import type { Settings } from "../../common/settings/read.ts";
import { type Finding, missing, ok, weaker } from "../../server/doctor/findings.ts";
import { DirectoryUnavailable } from "../../server/fleet/directory/directory.ts";
import { ValkeyDirectory } from "../../server/fleet/directory/valkey.ts";
import { unreached } from "../../server/fleet/hop/client.ts";
import { hostFile, knownHost } from "../../server/fleet/identity.ts";
import { FLEET_TIMES } from "../../server/fleet/load.ts";

const WITHIN_MS = 5_000;
/** Tokens of callers are good for minutes; hosts' own go by the engine's clock. */
const CLOCK_APART_MS = 2_000;

/** None where the host is alone. */
export async function fleetFindings(settings: Settings): Promise<Finding[]> {
  const { fleetCa: ca, fleetName: fleet, fleetUrl: url } = settings;
  if (url === null) return [];
  const times = { ...FLEET_TIMES, recordMs: settings.sessionVolumeTtlMs };
  const directory = new ValkeyDirectory({ url, ca, fleet, times, commandMs: WITHIN_MS });
  try {
    await directory.connect();
    return [...engineFindings(await directory.look()), ...(await hostsFindings(directory, settings))];
  } catch (error) {
    if (!(error instanceof DirectoryUnavailable)) throw error;
    return [
      missing(
        "fleet's directory",
        error.message,
        "bring the engine of KERNELYARD_FLEET_URL up, or correct its address, password or KERNELYARD_FLEET_CA; open its port to this host",
      ),
    ];
  } finally {
    await directory.close();
  }
}

function engineFindings(look: Awaited<ReturnType<ValkeyDirectory["look"]>>): Finding[] {
  const { aheadMs, persistent, problem, replicas, version } = look;
  const title = "fleet's directory";
  const kept = "fleet's memory";
  const clock = "fleet's clock";
  const apart = `${Math.abs(aheadMs)} ms ${aheadMs < 0 ? "behind" : "before"} this host's`;
  return [
    problem === null
      ? ok(title, `version ${version}, noeviction`)
      : missing(title, problem, "correct the engine's configuration, then start the gateways again"),
    persistent || replicas > 0
      ? ok(
          kept,
          [...(persistent ? ["on its disk"] : []), ...(replicas > 0 ? [`${replicas} replica`] : [])].join(
            ", ",
          ),
        )
      : weaker(
          kept,
          "an engine that is started again has lost who has which session; hosts that run say it again",
          "appendonly yes in the engine's configuration, or a replica",
        ),
    Math.abs(aheadMs) <= CLOCK_APART_MS
      ? ok(clock, `the engine's is ${apart}`)
      : weaker(
          clock,
          `the engine's is ${apart}`,
          "have the machines' clocks set by NTP (chrony, systemd-timesyncd)",
        ),
  ];
}

async function hostsFindings(directory: ValkeyDirectory, settings: Settings): Promise<Finding[]> {
  const own = knownHost(settings.dataDir);
  const hosts = await directory.hosts();
  const others = hosts.filter(({ addr, id }) => id !== own && addr !== settings.fleetAddress);
  const here = "host of the fleet";
  const findings = [
    others.length < hosts.length
      ? ok(here, `takes part, as ${settings.fleetAddress}`)
      : weaker(
          here,
          `its gateway takes no part now (${hostFile(settings.dataDir)})`,
          "start the gateway; its log says why not",
        ),
  ];
  for (const { addr, cert, state } of others) {
    const title = `other host ${addr}`;
    const problem = await unreached({ addr, cert });
    findings.push(
      problem === null
        ? ok(title, `reached, with the certificate of its record; ${state}`)
        : missing(
            title,
            problem,
            `open ${addr} to this host; if it is reached by another address, correct KERNELYARD_FLEET_ADDRESS there`,
          ),
    );
  }
  return findings;
}
