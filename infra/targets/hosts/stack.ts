/** Target hosts: machines by ssh. The first carries the registry; each runs launcher and gateway. */
import * as command from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import type { HostsConfig } from "../../config/parse.ts";
import type { HostConfig } from "../../config/values.ts";
import { Images } from "../../parts/images.ts";
import { sshMachine } from "../../parts/machine.ts";
import { Registry } from "../../parts/registry.ts";
import { Keys } from "../../parts/secrets.ts";
import { Services } from "../../services/services.ts";
import { Data, Sweep } from "../../services/sweep.ts";
import { environmentFor, type StackOutputs, type TargetArgs } from "../../target.ts";
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
  const folder = `/var/lib/${prefix}`;
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

  const serve = (host: HostConfig, prepared: SshHost) => {
    const name = `kernelyard-${host.name}`;
    const machine = machineOf(host);
    const data = new Data(
      `${name}-data`,
      { machine, folder, protect: common.protectData, provider: commands },
      { dependsOn: [prepared.prepared] },
    );
    const sweep = new Sweep(`${name}-sweep`, {
      machine,
      folder,
      repository,
      provider: commands,
      dependsOn: [data, images],
    });
    new Services(`${name}-services`, {
      config: common,
      prefix,
      provider: prepared.engine,
      paths: { data: folder, dockerSocket: "/var/run/docker.sock" },
      bindAddress: "0.0.0.0",
      sandboxImage: images.sandbox,
      gatewayImage: images.gateway,
      keys: { apiKey: keys.apiKey, jwtPublicKeyPem: keys.jwtPublicKeyPem, further: args.apiKeys },
      sweep: sweep.resource,
    });
    return `http://${inUrl(host.address)}:${common.port}`;
  };
  const endpoint = serve(first, carrier);
  const endpoints = [endpoint, ...rest.map((host) => serve(host, prepare(host, access.certificate)))];
  return {
    endpoint,
    endpoints,
    librechatEnvironment: environmentFor(common, keys, endpoint),
    registry: registryAddress,
    sandboxImage: images.sandbox,
    gatewayImage: images.gateway,
    isolation: common.isolation,
    health: `${endpoint}/health`,
  };
}
