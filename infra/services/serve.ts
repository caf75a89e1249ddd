/** One machine of a stack: its data, what is swept when the stack goes, and launcher and gateway in between. */
import type * as command from "@pulumi/command";
import type * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import type { CommonConfig } from "../config/stack-config.ts";
import type { Images } from "../parts/images.ts";
import type { Machine } from "../parts/machine.ts";
import type { Keys } from "../parts/secrets.ts";
import type { Paths } from "./environment.ts";
import { Services, type ServicesArgs } from "./services.ts";
import { Data, Sweep } from "./sweep.ts";

export interface ServeArgs {
  readonly config: CommonConfig;
  /** Physical names begin with it. */
  readonly prefix: string;
  readonly machine: Machine;
  readonly engine: docker.Provider;
  readonly commands: command.Provider;
  readonly paths: Paths;
  /** Address of the machine that the gateway's port is published on. */
  readonly bindAddress: string;
  readonly images: Images;
  readonly keys: Keys;
  readonly apiKeys: pulumi.Output<string> | null;
  readonly more?: ServicesArgs["more"];
  readonly ports?: ServicesArgs["ports"];
  readonly networks?: ServicesArgs["networks"];
  /** What makes the machine fit to serve. */
  readonly prepared: readonly pulumi.Resource[];
}

/** Names of resources begin with `name`. */
export function serve(name: string, args: ServeArgs): Services {
  const { config, machine, commands, images, keys } = args;
  const folder = args.paths.data;
  const data = new Data(
    `${name}-data`,
    { machine, folder, protect: config.protectData, provider: commands },
    { dependsOn: [...args.prepared] },
  );
  const sweep = new Sweep(`${name}-sweep`, {
    machine,
    folder,
    prefix: args.prefix,
    provider: commands,
    dependsOn: [data, images],
  });
  return new Services(`${name}-services`, {
    config,
    prefix: args.prefix,
    provider: args.engine,
    paths: args.paths,
    bindAddress: args.bindAddress,
    sandboxImage: images.sandbox,
    gatewayImage: images.gateway,
    keys: { apiKey: keys.apiKey, jwtPublicKeyPem: keys.jwtPublicKeyPem, further: args.apiKeys },
    sweep: sweep.resource,
    ...(args.more === undefined ? {} : { more: args.more }),
    ...(args.ports === undefined ? {} : { ports: args.ports }),
    ...(args.networks === undefined ? {} : { networks: args.networks }),
  });
}
