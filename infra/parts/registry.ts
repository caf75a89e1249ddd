/** The stack's own registry as a container: on 127.0.0.1, or on the network with TLS and a password. */
import type * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { LEAST_PRIVILEGE } from "./least-privilege.ts";
import type { Machine } from "./machine.ts";
import { packageImage } from "./package-image.ts";

export interface RegistryArgs {
  readonly projectRoot: string;
  /** Physical names begin with it. */
  readonly prefix: string;
  readonly provider: docker.Provider;
  readonly commands: command.Provider;
  /** The machine that carries it, and builds its image. */
  readonly machine: Machine;
  readonly baseImage: string;
  /** By digest; null: built from Debian's package. */
  readonly image: string | null;
  readonly port: number;
  /** `secured` needs `tls.crt`, `tls.key` and `htpasswd` in that folder of the machine. */
  readonly exposure:
    | { readonly kind: "loopback" }
    | { readonly kind: "secured"; readonly folder: pulumi.Input<string> };
}

const INNER_PORT = 5000;
/** As in the image; the secured folder's files belong to it. */
export const REGISTRY_UID = 10003;

export class Registry extends pulumi.ComponentResource {
  readonly image: pulumi.Output<string>;
  readonly containerId: pulumi.Output<string>;

  constructor(name: string, args: RegistryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:registry:Registry", name, {}, opts);
    // Another provider alone replaces nothing: the engine asks the Docker provider, and an address is no reason for it
    // (pulumi/pulumi #18509). Absent before, it replaces nothing either.
    const options = { parent: this, replacementTrigger: args.machine.name };
    this.image =
      args.image === null
        ? packageImage(`${name}-image`, { ...args, image: "registry" }, options)
        : pulumi.output(args.image);
    const onEngine = { ...options, provider: args.provider };
    const volume = this.#volume(name, args, onEngine);
    const network = this.#network(name, args, onEngine);
    this.containerId = this.#container(name, args, volume, network, onEngine);
    this.registerOutputs({ image: this.image, containerId: this.containerId });
  }

  #volume(name: string, args: RegistryArgs, opts: pulumi.CustomResourceOptions): pulumi.Output<string> {
    return new docker.Volume(
      `${name}-volume`,
      { name: `${args.prefix}-registry`, labels: [{ label: "kernelyard.part", value: "registry" }] },
      opts,
    ).name;
  }

  /** Its own bridge: other containers have no way to it but the published port. */
  #network(name: string, args: RegistryArgs, opts: pulumi.CustomResourceOptions): pulumi.Output<string> {
    return new docker.Network(
      `${name}-network`,
      {
        name: `${args.prefix}-registry`,
        driver: "bridge",
        labels: [{ label: "kernelyard.part", value: "registry" }],
      },
      opts,
    ).name;
  }

  #container(
    name: string,
    args: RegistryArgs,
    volume: pulumi.Output<string>,
    network: pulumi.Output<string>,
    opts: pulumi.CustomResourceOptions,
  ): pulumi.Output<string> {
    const secured = args.exposure.kind === "secured" ? args.exposure : null;
    return new docker.Container(
      `${name}-container`,
      {
        ...LEAST_PRIVILEGE,
        name: `${args.prefix}-registry`,
        image: this.image,
        // Somebody else's image may need to write its volume as root; the capabilities are gone all the same.
        ...(args.image === null ? { user: `${REGISTRY_UID}:${REGISTRY_UID}` } : {}),
        memory: 512,
        memorySwap: 512,
        // As the engine says it back: another spelling would be another container at every update.
        cpus: "1.0",
        networksAdvanced: [{ name: network }],
        ports: [
          { internal: INNER_PORT, external: args.port, ip: secured === null ? "127.0.0.1" : "0.0.0.0" },
        ],
        volumes: [
          { volumeName: volume, containerPath: "/var/lib/registry" },
          ...(secured === null
            ? []
            : [{ hostPath: secured.folder, containerPath: "/etc/registry", readOnly: true }]),
        ],
        envs:
          secured === null
            ? []
            : [
                "REGISTRY_HTTP_TLS_CERTIFICATE=/etc/registry/tls.crt",
                "REGISTRY_HTTP_TLS_KEY=/etc/registry/tls.key",
                "REGISTRY_AUTH_HTPASSWD_REALM=kernelyard",
                "REGISTRY_AUTH_HTPASSWD_PATH=/etc/registry/htpasswd",
              ],
        labels: [{ label: "kernelyard.part", value: "registry" }],
        healthcheck: {
          tests: ["CMD-SHELL", `grep -q :1388 /proc/net/tcp /proc/net/tcp6`],
          interval: "2s",
          timeout: "2s",
          retries: 15,
          startPeriod: "0s",
        },
        wait: true,
        waitTimeout: 60,
      },
      opts,
    ).id;
  }
}
