/** One address for several machines, as a container on the first: HAProxy from Debian's package. Plain HTTP, as the gateways have it. */
import { join } from "node:path";
import type * as command from "@pulumi/command";
import { local } from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { stopWithinMs } from "../../../gateway/common/stopping.ts";
import { LEAST_PRIVILEGE } from "../../parts/least-privilege.ts";
import type { Machine } from "../../parts/machine.ts";
import { packageImage } from "../../parts/package-image.ts";
import { quote } from "../../parts/quote.ts";
import { script } from "../../parts/script.ts";
import { type EntryServer, entryConfiguration } from "./entry-configuration.ts";

const CONFIGURATION = join(import.meta.dirname, "entry-configuration.sh");

export interface EntryArgs {
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
  /** Address of the machine that it is published on. */
  readonly bindAddress: string;
  readonly port: number;
  readonly servers: readonly EntryServer[];
  /** A connection on which a call waits and runs is silent for so long at most. */
  readonly silentMs: number;
  readonly after: pulumi.Resource;
}

const INNER_PORT = 8080;
/** `INNER_PORT`, as /proc/net/tcp has it. */
const INNER_PORT_HEX = INNER_PORT.toString(16).toUpperCase();
/** As in the image. */
export const ENTRY_UID = 10005;
/** Two buffers for each of its connections, and as much again. */
const MEMORY_MIB = 384;

export class Entry extends pulumi.ComponentResource {
  readonly image: pulumi.Output<string>;
  /** For the gateway of the same machine, whose engine lets no container in by a published port of another's. */
  readonly network: pulumi.Output<string>;
  readonly container: pulumi.Resource;

  constructor(name: string, args: EntryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:hosts:Entry", name, {}, opts);
    // With another first machine it moves there.
    const options = { parent: this, replacementTrigger: args.machine.name };
    const onEngine = { ...options, provider: args.provider };
    this.image =
      args.image === null
        ? packageImage(`${name}-image`, { ...args, image: "entry" }, { ...options, dependsOn: [args.after] })
        : pulumi.output(args.image);
    this.network = new docker.Network(
      `${name}-network`,
      {
        name: `${args.prefix}-entry`,
        driver: "bridge",
        labels: [{ label: "kernelyard.part", value: "entry" }],
      },
      onEngine,
    ).name;
    const configuration = this.#configuration(name, args, options);
    this.container = this.#container(name, args, configuration, onEngine);
    this.registerOutputs({ image: this.image });
  }

  #configuration(name: string, args: EntryArgs, opts: pulumi.CustomResourceOptions): local.Command {
    const { commands, folder, machine, servers, silentMs } = args;
    const containerName = nameOf(args);
    return new local.Command(
      `${name}-configuration`,
      {
        create: this.image.apply((IMAGE) =>
          machine.pipe(script(CONFIGURATION, { FOLDER: folder, IMAGE, CONTAINER: containerName })),
        ),
        stdin: entryConfiguration({ bind: `:${INNER_PORT}`, servers, silentMs }),
        delete: machine.run(`rm -rf ${quote(folder)}`),
        logging: local.Logging.Stderr,
      },
      { ...opts, provider: commands, dependsOn: [args.after] },
    );
  }

  #container(
    name: string,
    args: EntryArgs,
    configuration: local.Command,
    opts: pulumi.CustomResourceOptions,
  ): docker.Container {
    // Calls that run end first.
    const stopSeconds = Math.ceil(stopWithinMs(args.silentMs) / 1000);
    return new docker.Container(
      `${name}-container`,
      {
        ...LEAST_PRIVILEGE,
        name: nameOf(args),
        image: this.image,
        ...(args.image === null ? { user: `${ENTRY_UID}:${ENTRY_UID}` } : {}),
        memory: MEMORY_MIB,
        memorySwap: MEMORY_MIB,
        networksAdvanced: [{ name: this.network }],
        ports: [{ internal: INNER_PORT, external: args.port, ip: args.bindAddress }],
        volumes: [
          // It is there before the container starts.
          {
            hostPath: configuration.id.apply(() => args.folder),
            containerPath: "/etc/entry",
            readOnly: true,
          },
        ],
        labels: [{ label: "kernelyard.part", value: "entry" }],
        healthcheck: {
          tests: ["CMD-SHELL", `grep -q :${INNER_PORT_HEX} /proc/net/tcp /proc/net/tcp6`],
          interval: "2s",
          timeout: "2s",
          retries: 15,
          startPeriod: "0s",
        },
        stopSignal: "SIGUSR1",
        stopTimeout: stopSeconds,
        destroyGraceSeconds: stopSeconds,
        wait: true,
        waitTimeout: 60,
      },
      opts,
    );
  }
}

const nameOf = ({ prefix }: EntryArgs) => `${prefix}-entry`;
