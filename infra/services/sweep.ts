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

export interface DataArgs {
  readonly machine: Machine;
  readonly folder: string;
  readonly protect: boolean;
  readonly provider: command.Provider;
}

/** The data directory and the session volumes in it. */
export class Data extends pulumi.ComponentResource {
  readonly resource: command.local.Command;

  constructor(name: string, args: DataArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:services:Data", name, {}, opts);
    this.resource = new command.local.Command(
      `${name}-folder`,
      {
        create: args.machine.run("true"),
        update: args.machine.run("true"),
        delete: args.machine.run(script(LEFTOVERS, { WHAT: "data", FOLDER: args.folder })),
        logging: command.local.Logging.Stderr,
      },
      { parent: this, provider: args.provider, protect: args.protect },
    );
    this.registerOutputs({});
  }
}

export interface SweepArgs {
  readonly machine: Machine;
  readonly folder: string;
  /** Images whose names begin with it are the stack's. */
  readonly repository: string;
  readonly provider: command.Provider;
  readonly dependsOn: readonly pulumi.Resource[];
}

/** Does nothing until the stack goes; then removes what only runs: sandboxes, and the stack's image tags. */
export class Sweep extends pulumi.ComponentResource {
  readonly resource: command.local.Command;

  constructor(name: string, args: SweepArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:services:Sweep", name, {}, opts);
    this.resource = new command.local.Command(
      `${name}-rest`,
      {
        create: args.machine.run("true"),
        update: args.machine.run("true"),
        delete: args.machine.run(
          script(LEFTOVERS, { WHAT: "running", FOLDER: args.folder, REPOSITORY: args.repository }),
        ),
        logging: command.local.Logging.Stderr,
      },
      { parent: this, provider: args.provider, dependsOn: [...args.dependsOn] },
    );
    this.registerOutputs({});
  }
}
