/**
 * Several whole gateways in this process, each before a launcher's stand-in, as hosts of one fleet: with a real engine, real listeners,
 * real TLS between them. Leases are shorter than the real ones, in the same proportions.
 */
import { once } from "node:events";
import type { Server as SecureServer } from "node:https";
import { onTestFinished } from "vitest";
import { newId } from "../../gateway/common/ids.ts";
import { readSettings } from "../../gateway/common/settings/read.ts";
import type { FleetTimes } from "../../gateway/server/fleet/fleet.ts";
import { loadFleet } from "../../gateway/server/fleet/load.ts";
import type { WorkspaceObjects } from "../../gateway/server/fleet/workspaces.ts";
import { createHopServer } from "../../gateway/server/http/hop-server.ts";
import type { OpenTracing } from "../../gateway/server/tracing/tracing.ts";
import { freePort } from "../support/free-port.ts";
import type { RedisServer } from "../support/redis/redis-server.ts";
import { usageInMemory } from "../support/usage.ts";
import { Wire } from "../support/wire.ts";
import { KEY, NO_FILES, OTHER_KEY, startGateway } from "../unit/http/gateway-under-test.ts";
import { type Listening, listen } from "../unit/http/listening.ts";
import { LauncherStandIn } from "../unit/sessions/launcher-stand-in.ts";

export const TIMES: Omit<FleetTimes, "recordMs"> = {
  leaseMs: 3_000,
  marginMs: 750,
  beatMs: 600,
  holdMs: 2_500,
  waitMs: 25_000,
  engineWaitMs: 20_000,
  askEveryMs: 20,
  believedMs: 300,
};

let fleets = 0;
/** One whose engine has been there for a while: it holds no claims back. */
export async function newFleet(engine: RedisServer): Promise<string> {
  const name = `fleet-${++fleets}`;
  const client = engine.client();
  await client.set(`{ky:${name}}:born`, "1");
  client.disconnect();
  return name;
}

export interface HostUnderTest {
  readonly id: string;
  readonly launcher: LauncherStandIn;
  readonly gateway: ReturnType<typeof startGateway>;
  readonly listening: Listening;
  readonly hops: SecureServer;
  readonly addr: string;
  readonly wire: Wire | null;
  /** As a kill -9: its connections are closed, and it beats no more. */
  die(): Promise<void>;
  /** In order: whatever it was asked is answered. */
  stop(): Promise<void>;
}

export interface HostOptions {
  readonly url: string;
  readonly fleet: string;
  readonly env?: Record<string, string>;
  readonly times?: Partial<FleetTimes>;
  readonly launcher?: LauncherStandIn;
  readonly id?: string;
  /** Other hosts come over a wire. */
  readonly wired?: boolean;
  /** Where files are saved; none: nowhere. */
  readonly workspaces?: WorkspaceObjects;
  readonly openTracing?: OpenTracing;
}

export async function startHost({
  env = {},
  fleet,
  id = newId(),
  times = {},
  url,
  ...given
}: HostOptions): Promise<HostUnderTest> {
  const launcher = given.launcher ?? new LauncherStandIn();
  if (given.launcher === undefined) await launcher.start();
  const port = await freePort();
  const wire = given.wired === true ? await Wire.to(port) : null;
  const addr = `127.0.0.1:${wire?.port ?? port}`;
  const all = {
    KERNELYARD_LAUNCHER_SOCKET: launcher.socketPath,
    KERNELYARD_AUTH: "api-key",
    KERNELYARD_API_KEYS: `${KEY},acme=${OTHER_KEY}`,
    KERNELYARD_FLEET_URL: url,
    KERNELYARD_FLEET_NAME: fleet,
    KERNELYARD_FLEET_ADDRESS: addr,
    KERNELYARD_FLEET_KEY: "the same for all hosts of the fleet",
    KERNELYARD_FILE_STORE: "s3",
    KERNELYARD_S3_BUCKET: "files",
    KERNELYARD_S3_REGION: "eu-central-1",
    ...env,
  };
  const speaker = { host: id, nonce: "this machine", since: Date.now() };
  const openFleet = await loadFleet(readSettings(all), { speaker, times: { ...TIMES, ...times } });
  const gateway = startGateway(
    launcher.socketPath,
    all,
    NO_FILES,
    null,
    openFleet,
    given.workspaces ?? null,
    usageInMemory(),
    given.openTracing ?? null,
  );
  if (gateway.fleet === null) throw new Error("the gateway has no fleet");
  const hops = createHopServer(gateway.app.fetch, gateway.fleet.certificate);
  hops.listen(port, "127.0.0.1");
  await once(hops, "listening");
  await gateway.kernels.start();
  await gateway.fleet.start();
  const listening = await listen(gateway);
  let dead = false;
  const die = async () => {
    if (dead) return;
    dead = true;
    hops.close();
    hops.closeAllConnections();
    await listening.close();
    gateway.stop();
  };
  const stop = async () => {
    await new Promise((resolve) => hops.close(resolve));
    await die();
  };
  onTestFinished(async () => {
    await die();
    await wire?.close();
    if (given.launcher === undefined) await launcher.dispose();
  });
  return { id, launcher, gateway, listening, hops, addr, wire, die, stop };
}
