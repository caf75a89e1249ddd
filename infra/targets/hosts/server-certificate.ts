/** A server's certificate on a machine, made there: its private key never leaves it. */
import { join } from "node:path";
import type * as command from "@pulumi/command";
import { local } from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import type { Machine } from "../../parts/machine.ts";
import { quote } from "../../parts/quote.ts";
import { script } from "../../parts/script.ts";

const CERTIFICATE = join(import.meta.dirname, "certificate.sh");

export interface ServerCertificateArgs {
  readonly machine: Machine;
  readonly commands: command.Provider;
  /** Of the server, on the machine; it goes with the certificate. */
  readonly folder: string;
  /** Name or address the certificate is for. */
  readonly host: string;
  /** Further names of it. */
  readonly names?: readonly string[];
  /** Folder in which the machine's engine looks for it; null: the engine does not use the server. */
  readonly trust: string | null;
  /** The server's user. */
  readonly owner: number;
  /** The server's container: one that runs reads a new certificate when it is started again. */
  readonly container: string;
  /** The certificate that is there ends soon: make another one. */
  readonly renew: boolean;
}

const isAddress = (host: string) => /^[0-9.]+$|:/.test(host);

/** Changes when a certificate is due; see ignoreChanges. */
const RENEWAL_VARIABLE = "KERNELYARD_RENEWAL";

/** Prints the certificate. */
export function serverCertificate(
  name: string,
  args: ServerCertificateArgs,
  opts: pulumi.CustomResourceOptions,
): local.Command {
  const subject = [args.host, ...(args.names ?? [])].map((one) => `${isAddress(one) ? "IP" : "DNS"}:${one}`);
  const folders = [args.folder, ...(args.trust === null ? [] : [args.trust])];
  return new local.Command(
    name,
    {
      create: args.machine.run(
        script(CERTIFICATE, {
          FOLDER: args.folder,
          TRUST: args.trust ?? "",
          HOST: args.host,
          SUBJECT: subject.join(","),
          OWNER: String(args.owner),
          CONTAINER: args.container,
        }),
      ),
      environment: { [RENEWAL_VARIABLE]: args.renew ? new Date().toISOString() : "none" },
      delete: args.machine.run(`rm -rf ${folders.map(quote).join(" ")}`),
      logging: local.Logging.Stderr,
    },
    {
      ...opts,
      provider: args.commands,
      ignoreChanges: args.renew ? [] : [`environment.${RENEWAL_VARIABLE}`],
    },
  );
}
