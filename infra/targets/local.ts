/** Target local: registry, images and services on the engine of this machine. */
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import type { LocalConfig } from "../config/stack-config.ts";
import { Images, imageNames } from "../parts/images.ts";
import { localMachine } from "../parts/machine.ts";
import { Registry } from "../parts/registry.ts";
import { Keys } from "../parts/secrets.ts";
import { serve } from "../services/serve.ts";
import { Tidy } from "../services/tidy.ts";
import { librechatOutputs, type StackOutputs, type TargetArgs } from "../target.ts";

export function localStack(args: TargetArgs<LocalConfig>): StackOutputs {
  const { config, projectRoot } = args;
  const { common } = config;
  const prefix = `kernelyard-${args.stack}`;
  const commands = new command.Provider("kernelyard-commands");
  const engine = new docker.Provider("kernelyard-engine", {
    host: config.dockerHost,
    // The check before an update says what is missing, and how to get it.
    disableDockerDaemonCheck: true,
  });

  const keys = new Keys("kernelyard-keys", { rotation: common.keyRotation, provider: commands });
  const machine = localMachine(config.dockerHost);
  const registry = new Registry("kernelyard-registry", {
    projectRoot,
    prefix,
    provider: engine,
    commands,
    machine,
    baseImage: common.serviceBaseImage,
    image: config.registry.image,
    port: config.registry.port,
    exposure: { kind: "loopback" },
  });
  const address = `127.0.0.1:${config.registry.port}`;
  const images = new Images(
    "kernelyard-images",
    {
      projectRoot,
      config: common,
      commands,
      machine,
      repositories: imageNames(`${address}/${prefix}`),
      registry: { kind: "open" },
    },
    { dependsOn: [registry] },
  );
  const services = serve("kernelyard", {
    config: common,
    prefix,
    machine,
    engine,
    commands,
    paths: { data: `/var/lib/${prefix}`, dockerSocket: config.dockerHost.replace(/^unix:\/\//, "") },
    bindAddress: config.bindAddress,
    images,
    keys,
    apiKeys: args.apiKeys,
    prepared: [],
  });
  new Tidy("kernelyard-tidy", {
    machine,
    commands,
    prefix,
    registry: true,
    packages: [registry.image],
    images,
    dedicated: false,
    after: [services],
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
