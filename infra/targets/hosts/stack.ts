/** Target hosts: machines by ssh. The first carries the registry; each runs launcher and gateway. */
import * as command from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import type { HostsConfig } from "../../config/stack-config.ts";
import type { HostConfig } from "../../config/values.ts";
import { Images, imageNames } from "../../parts/images.ts";
import { sshMachine } from "../../parts/machine.ts";
import { Registry } from "../../parts/registry.ts";
import { Keys } from "../../parts/secrets.ts";
import { serve } from "../../services/serve.ts";
import type { Services } from "../../services/services.ts";
import { Tidy } from "../../services/tidy.ts";
import { librechatOutputs, type StackOutputs, type TargetArgs } from "../../target.ts";
import type { MachineLook } from "./look.ts";
import { RegistryAccess } from "./registry-access.ts";
import { SshHost } from "./ssh-host.ts";

const REGISTRY_USER = "kernelyard";

export interface HostsArgs extends TargetArgs<HostsConfig> {
  /** By machine name: what the look before this update found; empty when nobody looked. */
  readonly looks: ReadonlyMap<string, MachineLook>;
}

const prefixOf = (stack: string) => `kernelyard-${stack}`;
const registryFolder = (stack: string) => `/etc/${prefixOf(stack)}/registry`;
/** On the first machine. */
export const certificateFile = (stack: string) => `${registryFolder(stack)}/tls.crt`;

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

  const served: Services[] = [];
  const serveOn = (host: HostConfig, prepared: SshHost) => {
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
      prepared: [prepared.prepared],
    });
    served.push(services);
    return `http://${inUrl(host.address)}:${common.port}`;
  };
  const endpoint = serveOn(first, carrier);
  const endpoints = [endpoint, ...rest.map((host) => serveOn(host, prepare(host, access.certificate)))];
  for (const host of config.hosts) {
    new Tidy(`kernelyard-${host.name}-tidy`, {
      machine: machineOf(host),
      commands,
      prefix,
      registryImage: host === first ? registry.image : null,
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
