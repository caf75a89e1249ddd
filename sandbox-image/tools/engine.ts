/** The engine's command line client, as the image build needs it. */
import { z } from "@hono/zod-openapi";
import { type CommandOptions, type CommandResult, lastWords, mustRun, runCommand } from "./command.ts";

const SHORT_MS = 30_000;

/** The socket that the launcher is told to use is the one that gets the image. */
export function engineEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const socket = env.KERNELYARD_DOCKER_SOCKET;
  return socket === undefined || socket === "" ? env : { ...env, DOCKER_HOST: `unix://${socket}` };
}

export const docker = (
  args: readonly string[],
  options: Partial<CommandOptions> = {},
): Promise<CommandResult> =>
  runCommand("docker", args, {
    timeoutMs: SHORT_MS,
    ...options,
    env: { ...engineEnvironment(), ...options.env },
  });

export const mustDocker = (
  what: string,
  args: readonly string[],
  options: Partial<CommandOptions> = {},
): Promise<string> =>
  mustRun(what, "docker", args, {
    timeoutMs: SHORT_MS,
    ...options,
    env: { ...engineEnvironment(), ...options.env },
  });

/** Throws with the remedy when client or engine is missing. */
export async function requireEngine(): Promise<void> {
  const result = await docker(["version", "--format", "{{.Server.APIVersion}}"]);
  if (result.code === 0) return;
  if (result.stderr.includes("ENOENT")) {
    throw new Error(
      "The `docker` command is missing: run `gateway/host/install.sh`, or install the package `docker.io` or `docker-cli`.",
    );
  }
  throw new Error(
    `The Docker engine does not answer: run \`gateway/host/install.sh\`.\n${lastWords(result, 3)}`,
  );
}

const ImageInspection = z.array(
  z.object({
    Id: z.string(),
    Size: z.number(),
    Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
  }),
);

export interface LocalImage {
  readonly id: string;
  readonly bytes: number;
  readonly labels: Readonly<Record<string, string>>;
}

export async function inspectImage(name: string): Promise<LocalImage | null> {
  const result = await docker(["image", "inspect", name]);
  if (result.code !== 0) return null;
  const [image] = ImageInspection.parse(JSON.parse(result.stdout));
  if (image === undefined) return null;
  return { id: image.Id, bytes: image.Size, labels: image.Config?.Labels ?? {} };
}

/**
 * BuildKit comes with the `buildx` plug-in; without it the engine's classic builder does the same work. Always the engine's
 * own builder: one that the operator has chosen otherwise may keep its images elsewhere.
 */
export async function builderEnvironment(): Promise<NodeJS.ProcessEnv> {
  const buildx = await docker(["buildx", "version"]);
  if (buildx.code !== 0) return { DOCKER_BUILDKIT: "0", DOCKER_CLI_HINTS: "false" };
  const context = await docker(["context", "show"]);
  return {
    DOCKER_BUILDKIT: "1",
    BUILDKIT_PROGRESS: "plain",
    BUILDX_BUILDER: context.stdout.trim() || "default",
    // They would make a list of manifests of every image.
    BUILDX_NO_DEFAULT_ATTESTATIONS: "1",
  };
}
