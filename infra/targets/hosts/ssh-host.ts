/** One machine reached by ssh, made an isolated Docker host by `gateway/host`, and brought back to it when it drifted. */
import { join } from "node:path";
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { HOST_FILES } from "../../../gateway/host/isolation.ts";
import { filesDigest } from "../../../sandbox-image/tools/build-context.ts";
import type { SshMachine } from "../../parts/machine.ts";
import { commandLine, quote } from "../../parts/quote.ts";
import { script } from "../../parts/script.ts";

const PREPARE = join(import.meta.dirname, "prepare.sh");
const TRUST = join(import.meta.dirname, "trust.sh");

/** Where the install script stays on the machine, for its operators. */
const HOST_FOLDER = "/usr/local/share/kernelyard/host";

const DRIFT_VARIABLE = "KERNELYARD_DRIFT";

export interface SshHostArgs {
  readonly projectRoot: string;
  readonly machine: SshMachine;
  /** Who deploys there. */
  readonly user: string;
  readonly commands: command.Provider;
  /** What the check before this update found; null: the machine is as it should be, or nobody looked. */
  readonly drift: string | null;
  /** Trust in the registry: its certificate, and the address it is known by. Null on the machine that carries it. */
  readonly trust: { readonly address: string; readonly certificate: pulumi.Input<string> } | null;
  readonly registryAuth: {
    readonly address: string;
    readonly username: string;
    readonly password: pulumi.Input<string>;
  };
}

export class SshHost extends pulumi.ComponentResource {
  readonly engine: docker.Provider;
  readonly prepared: command.local.Command;

  constructor(name: string, args: SshHostArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:hosts:SshHost", name, {}, opts);
    this.prepared = this.#prepare(name, args);
    const trusted = args.trust === null ? [] : [this.#trust(name, args, args.trust)];
    this.engine = this.#engine(name, args, [this.prepared, ...trusted]);
    this.registerOutputs({});
  }

  /** Sends the files of `gateway/host` that a machine needs, and runs its install script, which changes only what is not as it should be. */
  #prepare(name: string, args: SshHostArgs): command.local.Command {
    const source = join(args.projectRoot, "gateway/host");
    const install = script(PREPARE, { FOLDER: HOST_FOLDER, OPERATOR: args.user });
    // macOS would add files of its own.
    const send = `COPYFILE_DISABLE=1 ${commandLine(["tar", "-cz", "-C", "gateway/host", ...HOST_FILES])}`;
    return new command.local.Command(
      `${name}-prepared`,
      {
        create: `${send} | ${args.machine.prepare(install)}`,
        environment: {
          KERNELYARD_HOST_CONTENT: filesDigest(source, HOST_FILES).slice(0, 16),
          // Only a drift that was found changes this; see ignoreChanges.
          [DRIFT_VARIABLE]: args.drift ?? "none",
        },
        logging: command.local.Logging.Stderr,
      },
      {
        parent: this,
        provider: args.commands,
        // A machine that is as it should be is left alone, whatever its last repair was for.
        ignoreChanges: args.drift === null ? [`environment.${DRIFT_VARIABLE}`] : [],
        customTimeouts: { create: "30m", update: "30m" },
      },
    );
  }

  #trust(
    name: string,
    args: SshHostArgs,
    trust: { readonly address: string; readonly certificate: pulumi.Input<string> },
  ): command.local.Command {
    const folder = `/etc/docker/certs.d/${trust.address}`;
    const run = args.machine.pipe(script(TRUST, { FOLDER: folder }));
    return new command.local.Command(
      `${name}-trust`,
      {
        create: run,
        update: run,
        delete: args.machine.run(`rm -rf ${quote(folder)}`),
        stdin: trust.certificate,
      },
      { parent: this, provider: args.commands, dependsOn: [this.prepared] },
    );
  }

  /** Resources of this engine wait for the machine: a provider's dependencies are its resources' own. */
  #engine(name: string, args: SshHostArgs, after: pulumi.Resource[]): docker.Provider {
    return new docker.Provider(
      `${name}-engine`,
      {
        host: args.machine.dockerHost,
        sshOpts: [...args.machine.sshOptions],
        disableDockerDaemonCheck: true,
        registryAuth: [args.registryAuth],
      },
      { parent: this, dependsOn: after },
    );
  }
}
