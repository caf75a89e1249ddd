/**
 * What the deployment leaves beside Pulumi's own resources: sandboxes, session volumes, images of earlier digests,
 * the data directory. Two resources: `Sweep` goes with the services, `Data` only when its protection is taken away.
 */
import { join } from "node:path";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Machine } from "../parts/machine.ts";
import { script } from "../parts/script.ts";

const LEFTOVERS = join(import.meta.dirname, "leftovers.sh");

interface LeftArgs {
  readonly machine: Machine;
  readonly folder: string;
  readonly provider: command.Provider;
}

/** Does nothing until it is deleted; then removes what its kind leaves. */
const atTheEnd = (
  name: string,
  args: LeftArgs,
  values: Readonly<Record<string, string>>,
  opts: pulumi.CustomResourceOptions,
): command.local.Command =>
  new command.local.Command(
    name,
    {
      create: args.machine.run("true"),
      update: args.machine.run("true"),
      delete: args.machine.run(script(LEFTOVERS, { FOLDER: args.folder, ...values })),
      logging: command.local.Logging.Stderr,
    },
    { ...opts, provider: args.provider },
  );

export interface DataArgs extends LeftArgs {
  readonly protect: boolean;
}

/** The data directory and the session volumes in it. */
export class Data extends pulumi.ComponentResource {
  constructor(name: string, args: DataArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:services:Data", name, {}, opts);
    atTheEnd(`${name}-folder`, args, { WHAT: "data" }, { parent: this, protect: args.protect });
    this.registerOutputs({});
  }
}

export interface SweepArgs extends LeftArgs {
  /** Begins the names of the stack's images, after the address of the registry. */
  readonly prefix: string;
  readonly dependsOn: readonly pulumi.Resource[];
}

/** What only runs: sandboxes, and the stack's image tags. */
export class Sweep extends pulumi.ComponentResource {
  readonly resource: command.local.Command;

  constructor(name: string, args: SweepArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:services:Sweep", name, {}, opts);
    this.resource = atTheEnd(
      `${name}-rest`,
      args,
      { WHAT: "running", PREFIX: args.prefix },
      { parent: this, dependsOn: [...args.dependsOn] },
    );
    this.registerOutputs({});
  }
}
