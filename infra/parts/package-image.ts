/** An image that is one package of Debian's, built on the machine that runs it and never pushed: its identity is its id. */
import type * as command from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import { engineOf, publishedImage } from "./images.ts";
import type { Machine } from "./machine.ts";
import { quote } from "./quote.ts";
import { type PackageImage, packageTag } from "./tags.ts";

export interface PackageImageArgs {
  readonly image: PackageImage;
  readonly projectRoot: string;
  /** Physical names begin with it. */
  readonly prefix: string;
  readonly commands: command.Provider;
  readonly machine: Machine;
  readonly baseImage: string;
}

export function packageImage(
  name: string,
  args: PackageImageArgs,
  opts: pulumi.CustomResourceOptions,
): pulumi.Output<string> {
  const repository = `${args.prefix}-${args.image}`;
  return publishedImage(
    name,
    {
      order: {
        image: args.image,
        base: args.baseImage,
        name: `${repository}:${packageTag(args.projectRoot, args.image, [args.baseImage])}`,
        engine: engineOf(args.machine),
        registry: null,
        verify: null,
      },
      commands: args.commands,
      delete: args.machine.run(
        `docker image ls --quiet --filter reference=${quote(`${repository}:*`)} | xargs -r docker image rm --force >/dev/null`,
      ),
    },
    opts,
  );
}
