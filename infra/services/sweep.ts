/**
 * What the deployment leaves beside Pulumi's own resources: sandboxes, session volumes, images of earlier digests,
 * the data directory. Two resources: `Sweep` goes with the services, `Data` only when its protection is taken away.
 */
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Machine } from "../parts/machine.ts";
import { quote } from "../parts/quote.ts";

/** The launcher keeps the id that its labels carry here. */
const INSTANCE_FILE = "instance";

export interface DataArgs {
  readonly machine: Machine;
  readonly folder: string;
  readonly protect: boolean;
  readonly provider: command.Provider;
}

const sandboxesOf = (folder: string) =>
  `instance=$(cat ${quote(`${folder}/${INSTANCE_FILE}`)} 2>/dev/null) || instance=
if [ -n "$instance" ]; then
  docker ps -aq --filter "label=kernelyard.instance=$instance" | xargs -r docker rm -f -v >/dev/null
fi`;

/** The data directory and the session volumes in it. */
export class Data extends pulumi.ComponentResource {
  readonly resource: command.local.Command;

  constructor(name: string, args: DataArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:services:Data", name, {}, opts);
    const folder = quote(args.folder);
    this.resource = new command.local.Command(
      `${name}-folder`,
      {
        create: args.machine.run("true"),
        update: args.machine.run("true"),
        delete: args.machine.run(`set -eu
${sandboxesOf(args.folder)}
if [ -n "$instance" ]; then
  docker volume ls -q --filter "label=kernelyard.instance=$instance" | xargs -r docker volume rm >/dev/null
fi
rm -rf ${folder} 2>/dev/null || sudo -n rm -rf ${folder} || {
  echo "${args.folder} could not be removed: remove it as root, then run pulumi destroy again" >&2
  exit 1
}`),
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
        delete: args.machine.run(`set -eu
${sandboxesOf(args.folder)}
references() {
  docker image ls --digests --format '{{.Repository}} {{.Tag}} {{.Digest}}' | while read -r name tag digest; do
    case $name in ${quote(args.repository)}/*) ;; *) continue ;; esac
    if [ "$tag" != '<none>' ]; then echo "$name:$tag"; fi
    if [ "$digest" != '<none>' ]; then echo "$name@$digest"; fi
  done | sort -u
}
# By name: an image that somebody else has named as well stays theirs. With its tag a digest may go.
references | while read -r reference; do docker image rm -f "$reference" >/dev/null 2>&1 || true; done
left=$(references)
if [ -n "$left" ]; then echo "these images could not be removed: $left" >&2; exit 1; fi`),
        logging: command.local.Logging.Stderr,
      },
      { parent: this, provider: args.provider, dependsOn: [...args.dependsOn] },
    );
    this.registerOutputs({});
  }
}
