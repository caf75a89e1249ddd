/** Target local: registry, images and services on the engine of this machine. */
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import type { LocalConfig } from "../config/parse.ts";
import { Images } from "../parts/images.ts";
import { localMachine } from "../parts/machine.ts";
import { Registry } from "../parts/registry.ts";
import { Keys } from "../parts/secrets.ts";
import { serve } from "../services/serve.ts";
import { librechatOutputs, type StackOutputs, type TargetArgs } from "../target.ts";

export function localStack(args: TargetArgs<LocalConfig>): StackOutputs {
  const { config, projectRoot } = args;
  const { common } = config;
  const prefix = `kernelyard-${args.stack}`;
  const commands = new command.Provider("kernelyard-commands");
  const engine = new docker.Provider("kernelyard-engine", {
    host: config.dockerHost,
    // A preview must work while the engine is away; the check before an update says what is missing.
    disableDockerDaemonCheck: true,
  });

  const keys = new Keys("kernelyard-keys", { projectRoot, rotation: common.keyRotation, provider: commands });
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
  serve("kernelyard", {
    config: common,
    prefix,
    machine: localMachine(config.dockerHost),
    engine,
    commands,
    paths: { data: `/var/lib/${prefix}`, dockerSocket: config.dockerHost.replace(/^unix:\/\//, "") },
    bindAddress: config.bindAddress,
    repository,
    images,
    keys,
    apiKeys: args.apiKeys,
    prepared: [],
  });

  const reachable = config.bindAddress === "0.0.0.0" ? "127.0.0.1" : config.bindAddress;
  const endpoint = `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${common.port}`;
  return {
    endpoint,
    endpoints: [endpoint],
    ...librechatOutputs(common, keys, endpoint),
    registry: address,
    sandboxImage: images.sandbox,
    gatewayImage: images.gateway,
    isolation: common.isolation,
    health: `${endpoint}/health`,
  };
}
