/** The stack's own keys: made once, kept in the state as secrets, made anew when `keyRotation` changes. */
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { commandLine } from "./quote.ts";

const GeneratedKeys = z.object({
  apiKey: z.string(),
  registryPassword: z.string(),
  jwtPrivateKeyPem: z.string(),
  jwtPublicKeyPem: z.string(),
  jwtKid: z.string(),
});
export type GeneratedKeys = z.infer<typeof GeneratedKeys>;

/** What a preview shows while the keys do not exist yet, and what mocks answer. */
const UNKNOWN: GeneratedKeys = {
  apiKey: "",
  registryPassword: "",
  jwtPrivateKeyPem: "",
  jwtPublicKeyPem: "",
  jwtKid: "",
};

export interface KeysArgs {
  readonly rotation: string;
  readonly provider: command.Provider;
}

export class Keys extends pulumi.ComponentResource {
  readonly apiKey: pulumi.Output<string>;
  readonly registryPassword: pulumi.Output<string>;
  readonly jwtPrivateKeyPem: pulumi.Output<string>;
  readonly jwtPublicKeyPem: pulumi.Output<string>;
  readonly jwtKid: pulumi.Output<string>;

  constructor(name: string, args: KeysArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:keys:Keys", name, {}, opts);
    const made = new command.local.Command(
      `${name}-generated`,
      {
        // In the project's folder, wherever that is.
        create: commandLine(["node_modules/.bin/node", "infra/parts/generate-secrets.ts"]),
        // Another way to make keys must not make new ones; another rotation does, being a new resource.
        update: 'printf %s "$PULUMI_COMMAND_STDOUT"',
        triggers: [args.rotation],
        logging: command.local.Logging.None,
      },
      {
        parent: this,
        provider: args.provider,
        additionalSecretOutputs: ["stdout", "stderr"],
      },
    );
    const keys = pulumi.secret(
      made.stdout.apply((text) => (text ? GeneratedKeys.parse(JSON.parse(text)) : UNKNOWN)),
    );
    this.apiKey = keys.apiKey;
    this.registryPassword = keys.registryPassword;
    this.jwtPrivateKeyPem = keys.jwtPrivateKeyPem;
    this.jwtPublicKeyPem = keys.jwtPublicKeyPem;
    this.jwtKid = keys.jwtKid;
    this.registerOutputs({
      apiKey: this.apiKey,
      registryPassword: this.registryPassword,
      jwtPrivateKeyPem: this.jwtPrivateKeyPem,
      jwtPublicKeyPem: this.jwtPublicKeyPem,
      jwtKid: this.jwtKid,
    });
  }
}
