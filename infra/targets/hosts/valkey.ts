/**
 * The directory of several machines, as a container on the first: TLS, one user, written to a protected volume. Other
 * machines reach it by the first one's address, its own gateway by their network.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type * as command from "@pulumi/command";
import { local } from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { LEAST_PRIVILEGE } from "../../parts/least-privilege.ts";
import type { Machine } from "../../parts/machine.ts";
import { packageImage } from "../../parts/package-image.ts";
import { script } from "../../parts/script.ts";
import { serverCertificate } from "./server-certificate.ts";

const ACCESS = join(import.meta.dirname, "valkey-access.sh");

export interface ValkeyArgs {
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
  /** On that machine. */
  readonly folder: string;
  /** Name or address by which the others reach it. */
  readonly host: string;
  /** Address of the machine that it is published on. */
  readonly bindAddress: string;
  readonly port: number;
  readonly password: pulumi.Output<string>;
  /** The certificate that is there ends soon: make another one. */
  readonly renew: boolean;
  readonly protect: boolean;
  readonly after: pulumi.Resource;
}

const INNER_PORT = 6379;
const USER = "kernelyard";
const MEMORY_MIB = 512;
/** As in the image; the folder's files belong to it. */
export const VALKEY_UID = 10004;

/** Pure: who may do what there. Scripts, keys of fleets, and a look at how it is; nothing that administers. */
export const directoryUsers = (password: string): string =>
  [
    // Nobody is this one, but what the engine reads back from its disk at a start is done with its rights: without them it
    // refuses its own log, and begins empty (Redis 7.0).
    "user default off resetpass ~* &* +@all",
    `user ${USER} on #${createHash("sha256").update(password).digest("hex")} ~{ky:* +@all -@admin -@dangerous +info`,
    "",
  ].join("\n");

export class Valkey extends pulumi.ComponentResource {
  readonly image: pulumi.Output<string>;
  /** PEM. */
  readonly certificate: pulumi.Output<string>;
  /** For the gateway of the same machine. */
  readonly network: pulumi.Output<string>;
  readonly container: pulumi.Resource;
  readonly #args: ValkeyArgs;

  constructor(name: string, args: ValkeyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:hosts:Valkey", name, {}, opts);
    this.#args = args;
    // With another first machine it moves there.
    const options = { parent: this, replacementTrigger: args.machine.name };
    this.image =
      args.image === null
        ? packageImage(`${name}-image`, { ...args, image: "valkey" }, { ...options, dependsOn: [args.after] })
        : pulumi.output(args.image);
    const certificate = serverCertificate(
      `${name}-certificate`,
      {
        ...args,
        names: [this.#containerName],
        trust: null,
        owner: VALKEY_UID,
        container: this.#containerName,
      },
      { ...options, dependsOn: [args.after] },
    );
    this.certificate = certificate.stdout;
    const access = this.#access(name, certificate, options);
    const onEngine = { ...options, provider: args.provider };
    const network = new docker.Network(
      `${name}-network`,
      {
        name: `${args.prefix}-valkey`,
        driver: "bridge",
        labels: [{ label: "kernelyard.part", value: "valkey" }],
      },
      onEngine,
    );
    this.network = network.name;
    this.container = this.#container(name, access, onEngine);
    this.registerOutputs({ certificate: this.certificate });
  }

  get #containerName(): string {
    return `${this.#args.prefix}-valkey`;
  }

  /** `beside`: for the gateway of the same machine, whose engine lets no container in by a published port of another's. */
  url(beside: boolean): pulumi.Output<string> {
    const { host, password, port } = this.#args;
    const where = beside
      ? `${this.#containerName}:${INNER_PORT}`
      : `${host.includes(":") ? `[${host}]` : host}:${port}`;
    return pulumi.secret(password.apply((text) => `rediss://${USER}:${text}@${where}`));
  }

  /** On standard input, so that it is in no process list. */
  #access(name: string, certificate: pulumi.Resource, opts: pulumi.CustomResourceOptions): local.Command {
    const { commands, folder, machine, password } = this.#args;
    const values = { FOLDER: folder, OWNER: String(VALKEY_UID), CONTAINER: this.#containerName };
    return new local.Command(
      `${name}-access`,
      {
        create: machine.pipe(script(ACCESS, values)),
        stdin: pulumi.secret(password.apply(directoryUsers)),
        logging: local.Logging.None,
      },
      { ...opts, provider: commands, dependsOn: [certificate] },
    );
  }

  #container(name: string, access: local.Command, opts: pulumi.CustomResourceOptions): docker.Container {
    const args = this.#args;
    // Named by its machine: with another first one it is another volume, and this one goes when it is released.
    const volume = new docker.Volume(
      `${name}-${args.machine.name}-volume`,
      { name: `${args.prefix}-valkey`, labels: [{ label: "kernelyard.part", value: "valkey" }] },
      { ...opts, protect: args.protect },
    );
    return new docker.Container(
      `${name}-container`,
      {
        ...LEAST_PRIVILEGE,
        name: this.#containerName,
        image: this.image,
        ...(args.image === null ? { user: `${VALKEY_UID}:${VALKEY_UID}` } : {}),
        // Twice what it keeps: it writes its file anew beside.
        memory: MEMORY_MIB,
        memorySwap: MEMORY_MIB,
        networksAdvanced: [{ name: this.network }],
        ports: [{ internal: INNER_PORT, external: args.port, ip: args.bindAddress }],
        volumes: [
          { volumeName: volume.name, containerPath: "/var/lib/directory" },
          // Its files are there before it starts.
          { hostPath: access.id.apply(() => args.folder), containerPath: "/etc/directory", readOnly: true },
        ],
        labels: [{ label: "kernelyard.part", value: "valkey" }],
        healthcheck: {
          // By TLS, and as somebody whom it does not know.
          tests: ["CMD-SHELL", `directory-cli --tls --insecure -p ${INNER_PORT} ping 2>&1 | grep -q NOAUTH`],
          interval: "2s",
          timeout: "2s",
          retries: 15,
          startPeriod: "0s",
        },
        stopTimeout: 30,
        destroyGraceSeconds: 30,
        wait: true,
        waitTimeout: 60,
      },
      opts,
    );
  }
}
