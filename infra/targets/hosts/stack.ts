/** Target hosts: machines by ssh. The first carries the registry; each runs launcher and gateway. */
import * as command from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import type { HostsConfig } from "../../config/parse.ts";
import type { HostConfig } from "../../config/values.ts";
import { Images } from "../../parts/images.ts";
import { sshMachine } from "../../parts/machine.ts";
import { Registry } from "../../parts/registry.ts";
import { Keys } from "../../parts/secrets.ts";
import { serve } from "../../services/serve.ts";
import { librechatOutputs, type StackOutputs, type TargetArgs } from "../../target.ts";
import { RegistryAccess } from "./registry-access.ts";
import { SshHost } from "./ssh-host.ts";

const REGISTRY_USER = "kernelyard";

export interface HostsArgs extends TargetArgs<HostsConfig> {
  readonly home: string;
  /** By machine name: what the check before this update found. */
  readonly drift: ReadonlyMap<string, string>;
}

const inUrl = (address: string) => (address.includes(":") ? `[${address}]` : address);

export function hostsStack(args: HostsArgs): StackOutputs {
  const { config, projectRoot } = args;
  const { common } = config;
  const prefix = `kernelyard-${args.stack}`;
  const [first, ...rest] = config.hosts;
  const registryAddress = `${inUrl(first.address)}:${config.registry.port}`;
  const repository = `${registryAddress}/${prefix}`;
  const commands = new command.Provider("kernelyard-commands");
  const keys = new Keys("kernelyard-keys", { projectRoot, rotation: common.keyRotation, provider: commands });
  const registryAuth = {
    address: registryAddress,
    username: REGISTRY_USER,
    password: keys.registryPassword,
  };
  const machineOf = (host: HostConfig) => sshMachine(host, config.sshKeyFile, args.home);
  const prepare = (host: HostConfig, certificate: pulumi.Output<string> | null) =>
    new SshHost(`kernelyard-${host.name}`, {
      projectRoot,
      machine: machineOf(host),
      commands,
      drift: args.drift.get(host.name) ?? null,
      trust: certificate === null ? null : { address: registryAddress, certificate },
      registryAuth,
    });

  const carrier = prepare(first, null);
  const access = new RegistryAccess("kernelyard-registry-access", {
    machine: machineOf(first),
    commands,
    folder: `/etc/${prefix}/registry`,
    host: first.address,
    address: registryAddress,
    username: REGISTRY_USER,
    password: keys.registryPassword,
    after: carrier.prepared,
  });
  const registry = new Registry(
    "kernelyard-registry",
    {
      projectRoot,
      prefix,
      provider: carrier.engine,
      baseImage: common.serviceBaseImage,
      image: config.registry.image,
      port: config.registry.port,
      exposure: { kind: "secured", folder: access.folder },
    },
    { dependsOn: [access] },
  );
  const images = new Images(
    "kernelyard-images",
    {
      projectRoot,
      config: common,
      provider: carrier.engine,
      repository,
      registry: { server: registryAddress, username: REGISTRY_USER, password: keys.registryPassword },
    },
    { dependsOn: [registry] },
  );

  const serveOn = (host: HostConfig, prepared: SshHost) => {
    serve(`kernelyard-${host.name}`, {
      config: common,
      prefix,
      machine: machineOf(host),
      engine: prepared.engine,
      commands,
      paths: { data: `/var/lib/${prefix}`, dockerSocket: "/var/run/docker.sock" },
      bindAddress: "0.0.0.0",
      repository,
      images,
      keys,
      apiKeys: args.apiKeys,
      prepared: [prepared.prepared],
    });
    return `http://${inUrl(host.address)}:${common.port}`;
  };
  const endpoint = serveOn(first, carrier);
  const endpoints = [endpoint, ...rest.map((host) => serveOn(host, prepare(host, access.certificate)))];
  return {
    endpoint,
    endpoints,
    ...librechatOutputs(common, keys, endpoint),
    registry: registryAddress,
    sandboxImage: images.sandbox,
    gatewayImage: images.gateway,
    isolation: common.isolation,
    health: `${endpoint}/health`,
  };
}
