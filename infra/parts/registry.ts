/** The stack's own registry as a container: on 127.0.0.1, or on the network with TLS and a password. */
import { join } from "node:path";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { LEAST_PRIVILEGE } from "./least-privilege.ts";
import { REGISTRY_FOLDER, registryTag } from "./tags.ts";

export interface RegistryArgs {
  readonly projectRoot: string;
  /** Physical names begin with it. */
  readonly prefix: string;
  readonly provider: docker.Provider;
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
    this.image = args.image === null ? this.#build(name, args) : pulumi.output(args.image);
    const volume = this.#volume(name, args);
    const network = this.#network(name, args);
    this.containerId = this.#container(name, args, volume, network);
    this.registerOutputs({ image: this.image, containerId: this.containerId });
  }

  /** Never pushed anywhere, so its identity is the image id, which is a digest too. */
  #build(name: string, args: RegistryArgs): pulumi.Output<string> {
    const folder = join(args.projectRoot, REGISTRY_FOLDER);
    const digest = registryTag(args.projectRoot);
    return new docker.RemoteImage(
      `${name}-image`,
      {
        name: `${args.prefix}-registry:${digest}`,
        build: {
          context: folder,
          dockerfile: "Dockerfile",
          networkMode: "host",
          buildArgs: { BASE_IMAGE: args.baseImage },
        },
        triggers: { content: digest, base: args.baseImage },
        forceRemove: true,
      },
      { parent: this, provider: args.provider },
    ).imageId;
  }

  #volume(name: string, args: RegistryArgs): pulumi.Output<string> {
    return new docker.Volume(
      `${name}-volume`,
      { name: `${args.prefix}-registry`, labels: [{ label: "kernelyard.part", value: "registry" }] },
      { parent: this, provider: args.provider },
    ).name;
  }

  /** Its own bridge: other containers have no way to it but the published port. */
  #network(name: string, args: RegistryArgs): pulumi.Output<string> {
    return new docker.Network(
      `${name}-network`,
      {
        name: `${args.prefix}-registry`,
        driver: "bridge",
        labels: [{ label: "kernelyard.part", value: "registry" }],
      },
      { parent: this, provider: args.provider },
    ).name;
  }

  #container(
    name: string,
    args: RegistryArgs,
    volume: pulumi.Output<string>,
    network: pulumi.Output<string>,
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
        cpus: "1",
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
      { parent: this, provider: args.provider },
    ).id;
  }
}
