/**
 * Several hosts of a fleet on this machine, each a launcher, a gateway and real sandboxes. They share the machine's engine: names of its
 * volumes are the sessions', so what a host takes along when it is lost has to be removed (`loseHost`).
 */
import { removeInstance } from "../abandoned.ts";
import { freePort } from "../free-port.ts";
import { Stack, type StackOptions } from "../stack.ts";

const KEY = "a key that all hosts of the fleet share, and nobody else";

export interface Bucket {
  readonly name: string;
  readonly endpoint: string;
  readonly credentials: Readonly<Record<string, string>>;
}

/** As the settings' defaults have it, but for what hosts on one machine cannot share, and `env`. Named after the bucket. */
export async function startFleetHost(
  engine: { readonly url: string },
  bucket: Bucket,
  env: Readonly<Record<string, string>> = {},
  options: Omit<StackOptions, "env"> = {},
): Promise<Stack> {
  const stack = new Stack({
    ...options,
    env: {
      KERNELYARD_FLEET_URL: engine.url,
      KERNELYARD_FLEET_NAME: bucket.name,
      KERNELYARD_FLEET_ADDRESS: `127.0.0.1:${await freePort()}`,
      KERNELYARD_FLEET_KEY: KEY,
      KERNELYARD_FILE_STORE: "s3",
      KERNELYARD_S3_BUCKET: bucket.name,
      KERNELYARD_S3_ENDPOINT: bucket.endpoint,
      ...bucket.credentials,
      ...env,
    },
  });
  try {
    await stack.startLauncher();
    await stack.startGateway();
    if (options.checkpoints === "ready") await stack.checkpointsReady();
  } catch (error) {
    await stack.stop();
    throw error;
  }
  return stack;
}

/** Its processes are killed; its containers and volumes are gone, as with its machine. */
export async function loseHost(host: Stack): Promise<void> {
  await host.gateway.signal("SIGKILL");
  await host.launcher.signal("SIGKILL");
  await removeInstance(host.docker, host.instance);
}

/** Asks for it, and resolves when its sessions are other hosts'. */
export async function drainHost(host: Stack): Promise<void> {
  const said = host.gateway.line((line) => (line.includes("this host has left its fleet") ? line : null));
  process.kill(host.gatewayPid, "SIGUSR2");
  await said;
}
