/** Target local: registry, images and services on the engine of this machine. */
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import type { LocalConfig } from "../config/parse.ts";
import { Images } from "../parts/images.ts";
import { localMachine } from "../parts/machine.ts";
import { Registry } from "../parts/registry.ts";
import { Keys } from "../parts/secrets.ts";
import { Services } from "../services/services.ts";
import { Data, Sweep } from "../services/sweep.ts";
import { environmentFor, type StackOutputs, type TargetArgs } from "../target.ts";

export function localStack(args: TargetArgs<LocalConfig>): StackOutputs {
  const { config, projectRoot } = args;
  const { common } = config;
  const prefix = `kernelyard-${args.stack}`;
  const folder = `/var/lib/${prefix}`;
  const machine = localMachine(config.dockerHost);
  const commands = new command.Provider("kernelyard-commands");
  const engine = new docker.Provider("kernelyard-engine", {
    host: config.dockerHost,
    // A preview must work while the engine is away; the check before an update says what is missing.
    disableDockerDaemonCheck: true,
  });

  const keys = new Keys("kernelyard-keys", { projectRoot, rotation: common.keyRotation, provider: commands });
  const data = new Data("kernelyard-data", {
    machine,
    folder,
    protect: common.protectData,
    provider: commands,
  });
  const registry = new Registry("kernelyard-registry", {
    projectRoot,
    prefix,
    provider: engine,
    baseImage: common.serviceBaseImage,
    image: config.registry.image,
    port: config.registry.port,
    exposure: { kind: "loopback" },
  });
  const address = `127.0.0.1:${config.registry.port}`;
  const repository = `${address}/${prefix}`;
  const images = new Images(
    "kernelyard-images",
    { projectRoot, config: common, provider: engine, repository },
    { dependsOn: [registry] },
  );
  const sweep = new Sweep("kernelyard-sweep", {
    machine,
    folder,
    repository,
    provider: commands,
    dependsOn: [data, images],
  });
  new Services("kernelyard-services", {
    config: common,
    prefix,
    provider: engine,
    paths: { data: folder, dockerSocket: config.dockerHost.replace(/^unix:\/\//, "") },
    bindAddress: config.bindAddress,
    sandboxImage: images.sandbox,
    gatewayImage: images.gateway,
    keys: { apiKey: keys.apiKey, jwtPublicKeyPem: keys.jwtPublicKeyPem, further: args.apiKeys },
    sweep: sweep.resource,
  });

  const reachable = config.bindAddress === "0.0.0.0" ? "127.0.0.1" : config.bindAddress;
  const endpoint = `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${common.port}`;
  return {
    endpoint,
    endpoints: [endpoint],
    librechatEnvironment: environmentFor(common, keys, endpoint),
    registry: address,
    sandboxImage: images.sandbox,
    gatewayImage: images.gateway,
    isolation: common.isolation,
    health: `${endpoint}/health`,
  };
}
