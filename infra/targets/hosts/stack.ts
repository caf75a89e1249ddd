/** Target hosts: machines by ssh. The first carries the registry, and the directory of several; each runs launcher and gateway. */
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { FleetConfig, HostsConfig } from "../../config/stack-config.ts";
import type { HostConfig } from "../../config/values.ts";
import { FleetKeys } from "../../parts/fleet-keys.ts";
import { Images, imageNames } from "../../parts/images.ts";
import { sshMachine } from "../../parts/machine.ts";
import { Registry } from "../../parts/registry.ts";
import { Keys } from "../../parts/secrets.ts";
import {
  type Environment,
  fileStoreEnvironment,
  fleetEnvironment,
  longestAnswerMs,
} from "../../services/environment.ts";
import { serve } from "../../services/serve.ts";
import { gatewayContainer, type Services } from "../../services/services.ts";
import { Tidy } from "../../services/tidy.ts";
import { librechatOutputs, type StackOutputs, type TargetArgs } from "../../target.ts";
import { Entry } from "./entry.ts";
import type { MachineLook } from "./look.ts";
import { RegistryAccess } from "./registry-access.ts";
import { SshHost } from "./ssh-host.ts";
import { Valkey } from "./valkey.ts";

const REGISTRY_USER = "kernelyard";

export interface HostsArgs extends TargetArgs<HostsConfig> {
  /** `ID:SECRET` of `fileStore`. */
  readonly fileStoreKey: pulumi.Output<string> | null;
  /** By machine name: what the look before this update found; empty when nobody looked. */
  readonly looks: ReadonlyMap<string, MachineLook>;
}

const prefixOf = (stack: string) => `kernelyard-${stack}`;
const registryFolder = (stack: string) => `/etc/${prefixOf(stack)}/registry`;
const valkeyFolder = (stack: string) => `/etc/${prefixOf(stack)}/valkey`;
const entryFolder = (stack: string) => `/etc/${prefixOf(stack)}/entry`;
/** On the first machine. */
export const certificateFiles = (stack: string): readonly string[] =>
  [registryFolder(stack), valkeyFolder(stack)].map((folder) => `${folder}/tls.crt`);

/** By which the other machines reach it. */
const innerAddress = (host: HostConfig) => host.privateAddress ?? host.address;
/** What others reach it by is published there; a machine whose name alone is known, on all its addresses. */
const innerBind = (host: HostConfig) =>
  /^[0-9.]+$|:/.test(innerAddress(host)) ? innerAddress(host) : "0.0.0.0";
const inUrl = (address: string) => (address.includes(":") ? `[${address}]` : address);

export function hostsStack(args: HostsArgs): StackOutputs {
  const { config, projectRoot } = args;
  const { common } = config;
  const prefix = prefixOf(args.stack);
  const [first, ...rest] = config.hosts;
  const registryAddress = `${inUrl(first.address)}:${config.registry.port}`;
  const commands = new command.Provider("kernelyard-commands");
  const keys = new Keys("kernelyard-keys", { rotation: common.keyRotation, provider: commands });
  const registryAuth = {
    address: registryAddress,
    username: REGISTRY_USER,
    password: keys.registryPassword,
  };
  const machineOf = (host: HostConfig) => sshMachine(host, config.sshKeyFile);
  const prepare = (host: HostConfig, certificate: pulumi.Output<string> | null) =>
    new SshHost(`kernelyard-${host.name}`, {
      projectRoot,
      machine: machineOf(host),
      user: host.user,
      commands,
      drift: args.looks.get(host.name)?.drift ?? null,
      trust: certificate === null ? null : { address: registryAddress, certificate },
      registryAuth,
    });

  const carrier = prepare(first, null);
  const access = new RegistryAccess("kernelyard-registry-access", {
    machine: machineOf(first),
    commands,
    folder: registryFolder(args.stack),
    host: first.address,
    address: registryAddress,
    username: REGISTRY_USER,
    password: keys.registryPassword,
    container: `${prefix}-registry`,
    renew: args.looks.get(first.name)?.certificateEnds ?? false,
    after: carrier.prepared,
  });
  const registry = new Registry(
    "kernelyard-registry",
    {
      projectRoot,
      prefix,
      provider: carrier.engine,
      commands,
      machine: machineOf(first),
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
      commands,
      machine: machineOf(first),
      repositories: imageNames(`${registryAddress}/${prefix}`),
      registry: { kind: "password", server: registryAddress, username: REGISTRY_USER },
      password: keys.registryPassword,
    },
    { dependsOn: [registry] },
  );

  const fleet = config.fleet === null ? null : fleetOf(args, config.fleet, carrier, commands);
  const entry = config.fleet === null ? null : entryOf(args, config.fleet, carrier, commands);
  const served: Services[] = [];
  const serveOn = (host: HostConfig, prepared: SshHost) => {
    const more = [fleet?.environment(host), filesOf(args)].filter((one) => one !== undefined && one !== null);
    const services = serve(`kernelyard-${host.name}`, {
      config: common,
      prefix,
      machine: machineOf(host),
      engine: prepared.engine,
      commands,
      paths: { data: `/var/lib/${prefix}`, dockerSocket: "/var/run/docker.sock" },
      bindAddress: config.bindAddress,
      images,
      keys,
      apiKeys: args.apiKeys,
      prepared: [prepared.prepared, ...(fleet === null ? [] : [fleet.valkey.container])],
      ...(more.length === 0
        ? {}
        : { more: pulumi.all(more).apply((all): Environment => Object.assign({}, ...all)) }),
      ...(fleet === null
        ? {}
        : {
            ports: [{ port: fleet.port, address: innerBind(host) }],
            networks:
              host === first ? [fleet.valkey.network, ...(entry === null ? [] : [entry.network])] : [],
          }),
    });
    served.push(services);
    return `http://${inUrl(host.address)}:${common.port}`;
  };
  const firstEndpoint = serveOn(first, carrier);
  const others = rest.map((host) => serveOn(host, prepare(host, access.certificate)));
  const endpoints = [firstEndpoint, ...others];
  const entryPort = config.fleet?.entry?.port;
  const endpoint = entryPort === undefined ? firstEndpoint : `http://${inUrl(first.address)}:${entryPort}`;
  const packages = [registry.image, ...[fleet?.valkey, entry].flatMap((one) => one?.image ?? [])];
  for (const host of config.hosts) {
    new Tidy(`kernelyard-${host.name}-tidy`, {
      machine: machineOf(host),
      commands,
      prefix,
      registry: host === first,
      packages: host === first ? packages : [],
      images,
      dedicated: true,
      // The others pull from the first one's registry.
      after: served,
    });
  }
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

/** What several machines share, and what each is told of it. */
function fleetOf(args: HostsArgs, fleet: FleetConfig, carrier: SshHost, commands: command.Provider) {
  const { common, hosts, sshKeyFile } = args.config;
  const [first] = hosts;
  const keys = new FleetKeys("kernelyard-fleet-keys", { rotation: common.keyRotation, provider: commands });
  const valkey = new Valkey("kernelyard-valkey", {
    projectRoot: args.projectRoot,
    prefix: prefixOf(args.stack),
    provider: carrier.engine,
    commands,
    machine: sshMachine(first, sshKeyFile),
    baseImage: common.serviceBaseImage,
    image: fleet.valkeyImage,
    folder: valkeyFolder(args.stack),
    host: innerAddress(first),
    bindAddress: innerBind(first),
    port: fleet.valkeyPort,
    password: keys.directoryPassword,
    renew: args.looks.get(first.name)?.certificateEnds ?? false,
    protect: common.protectData,
    after: carrier.prepared,
  });
  return {
    valkey,
    port: fleet.port,
    environment: (host: HostConfig): pulumi.Output<Environment> =>
      pulumi
        .all([valkey.url(host === first), valkey.certificate, keys.hopKey])
        .apply(([url, certificate, key]) =>
          fleetEnvironment({
            url,
            certificate,
            stack: args.stack,
            address: `${inUrl(innerAddress(host))}:${fleet.port}`,
            key,
          }),
        ),
  };
}

/** Null: LibreChat is given the first machine's address. */
function entryOf(
  args: HostsArgs,
  fleet: FleetConfig,
  carrier: SshHost,
  commands: command.Provider,
): Entry | null {
  if (fleet.entry === null) return null;
  const { bindAddress, common, hosts, sshKeyFile } = args.config;
  const [first] = hosts;
  const prefix = prefixOf(args.stack);
  return new Entry("kernelyard-entry", {
    projectRoot: args.projectRoot,
    prefix,
    provider: carrier.engine,
    commands,
    machine: sshMachine(first, sshKeyFile),
    baseImage: common.serviceBaseImage,
    image: fleet.entry.image,
    folder: entryFolder(args.stack),
    bindAddress,
    port: fleet.entry.port,
    servers: hosts.map((host) => ({
      name: host.name,
      address: host === first ? gatewayContainer(prefix) : innerAddress(host),
      port: common.port,
    })),
    silentMs: longestAnswerMs(common),
    after: carrier.prepared,
  });
}

/** Null: files are on the machine. */
function filesOf({ config, fileStoreKey }: HostsArgs): pulumi.Output<Environment> | null {
  const { fileStore } = config;
  return fileStore === null || fileStoreKey === null
    ? null
    : fileStoreKey.apply((key) => fileStoreEnvironment(fileStore, key));
}
