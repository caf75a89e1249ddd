/** What earlier updates left on the disks: images that no current one needs, on engines and in the stack's registry. */
import { join } from "node:path";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Images } from "../parts/images.ts";
import type { Machine } from "../parts/machine.ts";
import { script } from "../parts/script.ts";
import { PACKAGE_FOLDERS } from "../parts/tags.ts";

const ENGINE = join(import.meta.dirname, "tidy-engine.sh");
const REGISTRY = join(import.meta.dirname, "tidy-registry.sh");

export interface TidyArgs {
  readonly machine: Machine;
  readonly commands: command.Provider;
  /** Begins the names of the stack's images, after the address of the registry; and the registry's own name. */
  readonly prefix: string;
  /** This one carries the registry. */
  readonly registry: boolean;
  /** Those of packages that run on it. */
  readonly packages: readonly pulumi.Output<string>[];
  readonly images: Images;
  /** Nobody else builds on this machine. */
  readonly dedicated: boolean;
  /** Whatever uses the new images must be there first. */
  readonly after: readonly pulumi.Resource[];
}

/** Runs when the images of an update are in use, and never otherwise. */
export class Tidy extends pulumi.ComponentResource {
  constructor(name: string, args: TidyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:services:Tidy", name, {}, opts);
    const current = [args.images.sandbox, args.images.gateway];
    const { prefix } = args;
    this.#command(`${name}-engine`, args, [...current, ...args.packages], (keep) =>
      script(ENGINE, {
        PREFIX: prefix,
        PACKAGES: Object.keys(PACKAGE_FOLDERS)
          .map((image) => `${prefix}-${image}`)
          .join(" "),
        KEEP: keep.join(" "),
        CACHE: args.dedicated ? "ours" : "shared",
      }),
    );
    if (args.registry) {
      this.#command(`${name}-registry`, args, current, (keep) =>
        script(REGISTRY, {
          CONTAINER: `${prefix}-registry`,
          KEEP: keep.map((reference) => reference.replace(/^.*@/, "")).join(" "),
        }),
      );
    }
    this.registerOutputs({});
  }

  #command(
    name: string,
    args: TidyArgs,
    keep: pulumi.Output<string>[],
    text: (keep: readonly string[]) => string,
  ): void {
    new command.local.Command(
      name,
      {
        create: pulumi.all(keep).apply((references) => args.machine.run(text(references))),
        logging: command.local.Logging.Stderr,
      },
      { parent: this, provider: args.commands, dependsOn: [...args.after] },
    );
  }
}
