/**
 * The stack's images: made by `publish-image.ts` from this checkout, the sandbox's proven before it is pushed, used by digest.
 * Not by the Docker provider's own build: that one is given no certificates of the machine, hashes the modes and the place of
 * the checkout, pushes a tag again that an interrupted update left, and lets nothing look at an image before it is pushed.
 */
import { resolve } from "node:path";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { DEFAULT_PROFILE } from "../../gateway/common/profiles.ts";
import { verificationDigest } from "../../sandbox-image/tools/plan.ts";
import type { CommonConfig } from "../config/stack-config.ts";
import { type ImageOrder, ORDER_VARIABLE } from "./image-order.ts";
import type { Machine } from "./machine.ts";
import { commandLine } from "./quote.ts";
import { sandboxTag, serviceTag } from "./tags.ts";

/** Relative to the project, in which commands run. */
const PUBLISH = commandLine(["node_modules/.bin/node", "infra/parts/publish-image.ts"]);

export interface PublishArgs {
  readonly order: pulumi.Input<ImageOrder>;
  readonly password?: pulumi.Output<string>;
  readonly commands: command.Provider;
  /** Removes what stays on the engine. */
  readonly delete?: string;
}

/** NAME@sha256:…, or the id of an image that stays on its engine. Made again when the order changes, and only then. */
export function publishedImage(
  name: string,
  args: PublishArgs,
  opts: pulumi.CustomResourceOptions,
): pulumi.Output<string> {
  const published = new command.local.Command(
    name,
    {
      create: PUBLISH,
      environment: { [ORDER_VARIABLE]: pulumi.output(args.order).apply((order) => JSON.stringify(order)) },
      ...(args.password === undefined ? {} : { stdin: args.password }),
      ...(args.delete === undefined ? {} : { delete: args.delete }),
      // What it prints is the result; what it says on the way is for people.
      logging: command.local.Logging.Stderr,
    },
    { ...opts, provider: args.commands, customTimeouts: { create: "60m", update: "60m" } },
  );
  // A digest is no secret; the password beside it is.
  return pulumi.unsecret(published.stdout);
}

/** In a registry that makes folders by a push. */
export const imageNames = (repository: string): { readonly sandbox: string; readonly gateway: string } => ({
  sandbox: `${repository}/custom-rce-kernel`,
  gateway: `${repository}/gateway`,
});

/** The machine that builds. Null: whatever the operator's `docker` command talks to. */
export const engineOf = (machine: Machine | null): ImageOrder["engine"] =>
  machine === null ? null : { host: machine.dockerHost, sshOptions: [...machine.sshOptions] };

export interface ImagesArgs {
  readonly projectRoot: string;
  readonly config: CommonConfig;
  readonly commands: command.Provider;
  readonly machine: Machine | null;
  /** Without a tag, one for each image. */
  readonly repositories: { readonly sandbox: pulumi.Input<string>; readonly gateway: pulumi.Input<string> };
  readonly registry: pulumi.Input<NonNullable<ImageOrder["registry"]>>;
  readonly password?: pulumi.Output<string>;
  /** For machines that are not the one that builds: theirs, and where they get gVisor from. They prove the image themselves. */
  readonly elsewhere?: { readonly platform: string; readonly gvisorUrl: string };
}

export class Images extends pulumi.ComponentResource {
  /** NAME@sha256:… */
  readonly sandbox: pulumi.Output<string>;
  readonly gateway: pulumi.Output<string>;

  constructor(name: string, args: ImagesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:images:Images", name, {}, opts);
    this.sandbox = this.#sandbox(name, args);
    this.gateway = this.#gateway(name, args);
    this.registerOutputs({ sandbox: this.sandbox, gateway: this.gateway });
  }

  #sandbox(name: string, args: ImagesArgs): pulumi.Output<string> {
    const { config, elsewhere } = args;
    const folder = resolve(args.projectRoot, config.sandboxContext);
    const tag = sandboxTag(folder, config.profile, [config.sandboxBaseImage, elsewhere?.platform ?? ""]);
    return this.#published(`${name}-sandbox`, args, args.repositories.sandbox, tag, {
      image: "sandbox",
      folder: config.sandboxContext,
      ...(config.profile === DEFAULT_PROFILE ? {} : { profile: config.profile }),
      base: config.sandboxBaseImage,
      verify: elsewhere === undefined ? { isolation: config.isolation, digest: verificationDigest() } : null,
    });
  }

  #gateway(name: string, args: ImagesArgs): pulumi.Output<string> {
    const { config, elsewhere } = args;
    const target = elsewhere === undefined ? "services" : "host-bundle";
    const words = [config.serviceBaseImage, elsewhere?.platform ?? "", elsewhere?.gvisorUrl ?? ""];
    const tag = serviceTag(args.projectRoot, target, words);
    return this.#published(`${name}-gateway`, args, args.repositories.gateway, tag, {
      image: target,
      base: config.serviceBaseImage,
      ...(elsewhere === undefined ? {} : { gvisorUrl: elsewhere.gvisorUrl }),
      verify: null,
    });
  }

  /** One tag for each content: none is written twice, and people can tell them apart. */
  #published(
    name: string,
    args: ImagesArgs,
    repository: pulumi.Input<string>,
    tag: string,
    wanted: Omit<ImageOrder, "name" | "engine" | "registry" | "platform">,
  ): pulumi.Output<string> {
    const order = pulumi.all([repository, args.registry]).apply(
      ([where, registry]): ImageOrder => ({
        ...wanted,
        name: `${where}:${tag}`,
        ...(args.elsewhere === undefined ? {} : { platform: args.elsewhere.platform }),
        engine: engineOf(args.machine),
        registry,
      }),
    );
    return publishedImage(
      name,
      {
        order,
        commands: args.commands,
        ...(args.password === undefined ? {} : { password: args.password }),
      },
      { parent: this },
    );
  }
}
