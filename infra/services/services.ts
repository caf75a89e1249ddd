/** Launcher and gateway as containers of one machine, with the least that each needs. */
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { consolePort } from "../config/console.ts";
import type { CommonConfig } from "../config/stack-config.ts";
import { LEAST_PRIVILEGE } from "../parts/least-privilege.ts";
import {
  gatewayDescription,
  HEALTH_COMMAND,
  launcherDescription,
  type ServiceDescription,
} from "./description.ts";
import {
  assignments,
  type Environment,
  gatewayEnvironment,
  gatewayMemoryBytes,
  launcherEnvironment,
  longestCallMs,
  type Paths,
} from "./environment.ts";

/** Nobody but the machine itself: its operators come by ssh. */
const LOOPBACK = "127.0.0.1";

export interface PublishedPort {
  readonly port: number;
  /** Of the machine. */
  readonly address: string;
}

export interface ServicesArgs {
  readonly config: CommonConfig;
  /** Physical names begin with it. */
  readonly prefix: string;
  readonly provider: docker.Provider;
  readonly paths: Paths;
  /** Address of the machine that the gateway's port is published on. */
  readonly bindAddress: string;
  /** NAME@sha256:… */
  readonly sandboxImage: pulumi.Input<string>;
  readonly gatewayImage: pulumi.Input<string>;
  readonly keys: {
    readonly apiKey: pulumi.Output<string>;
    readonly jwtPublicKeyPem: pulumi.Output<string>;
    readonly further: pulumi.Output<string> | null;
  };
  /** What the target has the gateway know beside that: of its fleet, and where files are. */
  readonly more?: pulumi.Output<Environment>;
  /** Of the gateway beside its own. */
  readonly ports?: readonly PublishedPort[];
  /** Of the gateway beside its own bridge. */
  readonly networks?: readonly pulumi.Output<string>[];
  /** Taken down after the services: it removes the sandboxes that they left. */
  readonly sweep: pulumi.Resource;
}

const containerName = (prefix: string, { health }: Pick<ServiceDescription, "health">) =>
  `${prefix}-${health}`;

/** Its name for containers of a network that it is in. */
export const gatewayContainer = (prefix: string): string => containerName(prefix, { health: "gateway" });

export class Services extends pulumi.ComponentResource {
  readonly gatewayId: pulumi.Output<string>;
  readonly launcherId: pulumi.Output<string>;

  constructor(name: string, args: ServicesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:services:Services", name, {}, opts);
    const images = this.#pull(name, args);
    const network = this.#network(name, args);
    const launcher = this.#launcher(name, args, images);
    const gateway = this.#gateway(name, args, images, network, launcher);
    this.launcherId = launcher.id;
    this.gatewayId = gateway.id;
    this.registerOutputs({ gatewayId: this.gatewayId, launcherId: this.launcherId });
  }

  /**
   * Brings both images to this machine. They are kept when their digest changes: kernels may still run on the old one;
   * the sweep removes them with the stack.
   */
  #pull(name: string, args: ServicesArgs): pulumi.Resource[] {
    const pull = (purpose: string, reference: pulumi.Input<string>) =>
      new docker.RemoteImage(
        `${name}-${purpose}-image`,
        { name: reference, keepLocally: true },
        { parent: this, provider: args.provider, dependsOn: [args.sweep] },
      );
    return [pull("sandbox", args.sandboxImage), pull("gateway", args.gatewayImage)];
  }

  /** The gateway's own bridge; nothing else is on it. */
  #network(name: string, args: ServicesArgs): docker.Network {
    return new docker.Network(
      `${name}-network`,
      {
        name: `${args.prefix}-gateway`,
        driver: "bridge",
        options: { "com.docker.network.bridge.enable_icc": "false" },
        labels: [{ label: "kernelyard.part", value: "gateway" }],
      },
      // Some engines add options of their own, which are read back and would make the network anew each time.
      { parent: this, provider: args.provider, ignoreChanges: ["options"] },
    );
  }

  /** What both services' containers have in common, from their description. */
  #container(
    name: string,
    args: ServicesArgs,
    service: ServiceDescription,
    more: Partial<docker.ContainerArgs>,
    dependsOn: pulumi.Resource[],
  ): docker.Container {
    return new docker.Container(
      `${name}-${service.health}`,
      {
        ...LEAST_PRIVILEGE,
        name: containerName(args.prefix, service),
        image: args.gatewayImage,
        command: [...service.command],
        ...(service.user === null ? {} : { user: service.user }),
        capabilities: { drops: ["ALL"], adds: [...service.capabilities] },
        memory: service.memoryMib,
        memorySwap: service.memoryMib,
        deviceCgroupRules: [...service.deviceRules],
        volumes: service.binds.map((b) => ({
          hostPath: b.source,
          containerPath: b.target,
          readOnly: b.readOnly,
        })),
        labels: [{ label: "kernelyard.part", value: service.health }],
        ...(service.stopSignal === null ? {} : { stopSignal: service.stopSignal }),
        stopTimeout: service.stopSeconds,
        destroyGraceSeconds: service.stopSeconds,
        healthcheck: {
          tests: ["CMD", ...HEALTH_COMMAND, service.health],
          interval: "5s",
          timeout: "5s",
          retries: 12,
          startPeriod: "0s",
        },
        // Up means healthy; for the gateway: it has executed code in a sandbox.
        wait: true,
        waitTimeout: 120,
        ...more,
      },
      { parent: this, provider: args.provider, dependsOn },
    );
  }

  #launcher(name: string, args: ServicesArgs, images: pulumi.Resource[]): docker.Container {
    const envs = pulumi
      .output(args.sandboxImage)
      .apply((image) => assignments(launcherEnvironment(args.config, args.paths, image)));
    return this.#container(name, args, launcherDescription(args.paths), { networkMode: "none", envs }, [
      ...images,
      args.sweep,
    ]);
  }

  #gateway(
    name: string,
    args: ServicesArgs,
    images: pulumi.Resource[],
    network: docker.Network,
    launcher: docker.Container,
  ): docker.Container {
    const environment = pulumi
      .all([args.keys.apiKey, args.keys.jwtPublicKeyPem, args.keys.further ?? "", args.more ?? {}])
      .apply(
        ([apiKey, jwtPublicKeyPem, furtherApiKeys, more]): Environment => ({
          ...gatewayEnvironment(args.config, args.paths, { apiKey, jwtPublicKeyPem, furtherApiKeys }),
          ...more,
        }),
      );
    const console = consolePort(args.config);
    const published = [
      { port: args.config.port, address: args.bindAddress },
      ...(console === null ? [] : [{ port: console, address: LOOPBACK }]),
      ...(args.ports ?? []),
    ];
    return this.#container(
      name,
      args,
      gatewayDescription(args.paths, longestCallMs(args.config), gatewayMemoryBytes(args.config)),
      {
        networksAdvanced: [network.name, ...(args.networks ?? [])].map((name) => ({ name })),
        ports: published.map(({ address, port }) => ({ internal: port, external: port, ip: address })),
        // Of callers' keys hashes alone; a fleet's are its own.
        envs: pulumi.secret(environment.apply(assignments)),
      },
      [...images, launcher],
    );
  }
}
