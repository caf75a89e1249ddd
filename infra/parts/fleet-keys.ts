/** What the hosts of a fleet share, made once and kept in the state as secrets; made anew when `keyRotation` changes. */
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { commandLine } from "./quote.ts";
import type { KeysArgs } from "./secrets.ts";

const GeneratedFleetKeys = z.object({
  /** Of the directory's engine. */
  directoryPassword: z.string(),
  /** Signs what one host forwards to another. */
  hopKey: z.string(),
});
export type GeneratedFleetKeys = z.infer<typeof GeneratedFleetKeys>;

/** What a preview shows while they do not exist yet. */
const UNKNOWN: GeneratedFleetKeys = { directoryPassword: "", hopKey: "" };

export class FleetKeys extends pulumi.ComponentResource {
  readonly directoryPassword: pulumi.Output<string>;
  readonly hopKey: pulumi.Output<string>;

  constructor(name: string, args: KeysArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:keys:FleetKeys", name, {}, opts);
    const made = new command.local.Command(
      `${name}-generated`,
      {
        create: commandLine(["node_modules/.bin/node", "infra/parts/generate-fleet-keys.ts"]),
        // As for the stack's other keys: only another rotation, being a new resource, makes new ones.
        update: 'printf %s "$PULUMI_COMMAND_STDOUT"',
        triggers: [args.rotation],
        logging: command.local.Logging.None,
      },
      { parent: this, provider: args.provider, additionalSecretOutputs: ["stdout", "stderr"] },
    );
    const keys = pulumi.secret(
      made.stdout.apply((text) => (text ? GeneratedFleetKeys.parse(JSON.parse(text)) : UNKNOWN)),
    );
    this.directoryPassword = keys.directoryPassword;
    this.hopKey = keys.hopKey;
    this.registerOutputs({ directoryPassword: this.directoryPassword, hopKey: this.hopKey });
  }
}
