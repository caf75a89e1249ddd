/** Sandbox and gateway image: built by the engine's own builder, pushed to the stack's registry, used by digest. */
import { join, resolve } from "node:path";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { CommonConfig } from "../config/parse.ts";
import { SANDBOX_DOCKERFILE, SERVICE_DOCKERFILE, sandboxTag, serviceTag } from "./tags.ts";

export interface ImagesArgs {
  readonly projectRoot: string;
  readonly config: CommonConfig;
  /** The engine that builds. */
  readonly provider: docker.Provider;
  /** Where the images go, without a name: `127.0.0.1:5000/kernelyard-dev`. */
  readonly repository: pulumi.Input<string>;
  /** Names one repository for each image: ECR knows no folders that are made by a push. */
  readonly repositories?: { readonly sandbox: pulumi.Input<string>; readonly gateway: pulumi.Input<string> };
  readonly registry?: docker.types.input.Registry;
  /** Of the machines that will run them, where that is not the engine that builds. */
  readonly platform?: string;
  /** Takes the stage `host-bundle` of `gateway/image/Dockerfile`, with gVisor from there, for machines without internet. */
  readonly gvisorUrl?: string;
}

export class Images extends pulumi.ComponentResource {
  /** NAME@sha256:… */
  readonly sandbox: pulumi.Output<string>;
  readonly gateway: pulumi.Output<string>;

  constructor(name: string, args: ImagesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:images:Images", name, {}, opts);
    const built = this.#build(name, args);
    this.sandbox = built.sandbox;
    this.gateway = built.gateway;
    this.registerOutputs({ sandbox: this.sandbox, gateway: this.gateway });
  }

  #build(name: string, args: ImagesArgs) {
    const { config } = args;
    const sandboxFolder = resolve(args.projectRoot, config.sandboxContext);
    const repositories = args.repositories ?? {
      sandbox: pulumi.interpolate`${args.repository}/custom-rce-kernel`,
      gateway: pulumi.interpolate`${args.repository}/gateway`,
    };
    // One tag for each content: tags are never written twice (ECR refuses it), and people can tell them apart.
    const tags = {
      sandbox: sandboxTag(sandboxFolder, [config.sandboxBaseImage]),
      gateway: serviceTag(args.projectRoot, [config.serviceBaseImage, args.gvisorUrl ?? ""]),
    };
    const image = (
      purpose: "sandbox" | "gateway",
      repository: pulumi.Input<string>,
      build: docker.types.input.DockerBuild,
    ) =>
      new docker.Image(
        `${name}-${purpose}`,
        {
          imageName: pulumi.interpolate`${repository}:${tags[purpose]}`,
          // A preview must work without an engine.
          buildOnPreview: false,
          build: {
            ...build,
            network: "host",
            ...(args.platform === undefined ? {} : { platform: args.platform }),
          },
          ...(args.registry === undefined ? {} : { registry: args.registry }),
        },
        { parent: this, provider: args.provider },
      ).repoDigest;
    return {
      sandbox: image("sandbox", repositories.sandbox, {
        context: sandboxFolder,
        dockerfile: join(sandboxFolder, SANDBOX_DOCKERFILE),
        args: { BASE_IMAGE: config.sandboxBaseImage },
      }),
      gateway: image("gateway", repositories.gateway, {
        context: args.projectRoot,
        dockerfile: join(args.projectRoot, SERVICE_DOCKERFILE),
        target: args.gvisorUrl === undefined ? "services" : "host-bundle",
        args: {
          BASE_IMAGE: config.serviceBaseImage,
          ...(args.gvisorUrl === undefined ? {} : { GVISOR_URL: args.gvisorUrl }),
        },
      }),
    };
  }
}
