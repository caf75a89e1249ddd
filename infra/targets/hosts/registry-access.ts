/**
 * Certificate and password of the registry on the first machine. The private key is made there and never leaves it;
 * the password's bcrypt hash is made there too.
 */
import { join } from "node:path";
import type * as command from "@pulumi/command";
import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Machine } from "../../parts/machine.ts";
import { REGISTRY_UID } from "../../parts/registry.ts";
import { script } from "../../parts/script.ts";
import { serverCertificate } from "./server-certificate.ts";

const PASSWORD = join(import.meta.dirname, "registry-password.sh");

export interface RegistryAccessArgs {
  readonly machine: Machine;
  readonly commands: command.Provider;
  readonly folder: string;
  /** Name or address the certificate is for. */
  readonly host: string;
  readonly address: string;
  readonly username: string;
  readonly password: pulumi.Output<string>;
  /** The registry's container: one that runs reads a new certificate when it is started again. */
  readonly container: string;
  /** The certificate that is there ends soon: make another one. */
  readonly renew: boolean;
  readonly after: pulumi.Resource;
}

export class RegistryAccess extends pulumi.ComponentResource {
  /** PEM; for the other machines' engines. */
  readonly certificate: pulumi.Output<string>;
  readonly folder: pulumi.Output<string>;

  constructor(name: string, args: RegistryAccessArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:hosts:RegistryAccess", name, {}, opts);
    const certificate = serverCertificate(
      `${name}-certificate`,
      { ...args, trust: `/etc/docker/certs.d/${args.address}`, owner: REGISTRY_UID },
      { parent: this, dependsOn: [args.after] },
    );
    const password = this.#password(name, args, certificate);
    this.certificate = certificate.stdout;
    this.folder = password.id.apply(() => args.folder);
    this.registerOutputs({ certificate: this.certificate, folder: this.folder });
  }

  /** On standard input, so that it is in no process list. */
  #password(name: string, args: RegistryAccessArgs, certificate: pulumi.Resource): local.Command {
    const run = args.machine.pipe(
      script(PASSWORD, { FOLDER: args.folder, USERNAME: args.username, OWNER: String(REGISTRY_UID) }),
    );
    return new local.Command(
      `${name}-password`,
      {
        create: run,
        stdin: pulumi.secret(args.password),
        logging: local.Logging.None,
      },
      { parent: this, provider: args.commands, dependsOn: [certificate] },
    );
  }
}
