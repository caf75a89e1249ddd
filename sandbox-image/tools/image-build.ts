/** One way to build an image from listed files: `npm run image`, the profiles and `pulumi up` all take it. */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BuildMachine, proxyArguments, writeMachineFiles } from "./build-machine.ts";
import { builderEnvironment, mustDocker } from "./engine.ts";

const BUILD_TIMEOUT_MS = 1_800_000;

export interface ImageRecipe {
  /** What is being built, for people. */
  readonly name: string;
  readonly folder: string;
  /** Relative to the folder: the whole context. */
  readonly files: readonly string[];
  /** One of them, or one beside them. */
  readonly dockerfile: string;
  /** Folder of the context in which the Dockerfile looks for the machine's files; null: it needs none. */
  readonly machineFolder: string | null;
  readonly arguments: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Stage of the Dockerfile; default: the last one. */
  readonly target?: string | undefined;
  /** Default: the engine's own. */
  readonly platform?: string | undefined;
  /** Without layers of earlier builds. */
  readonly anew?: boolean | undefined;
}

/** One progress line per build step, whichever builder speaks. */
export function progressLine(line: string): string | null {
  const step = /^(?:Step (\d+\/\d+) : |#\d+ \[(?:\S+ )?(\d+\/\d+)\] )(.*)/.exec(line);
  if (step === null) return null;
  const text = (step[3] ?? "").replace(/\s+/g, " ");
  return `  ${step[1] ?? step[2]} ${text.length > 90 ? `${text.slice(0, 89)}…` : text}`;
}

/**
 * The context as it is sent: the listed files and no list, because builders differ in which list they read. Modes are
 * two, so that the checkout's umask is in no image.
 */
export function stageContext(
  recipe: Pick<ImageRecipe, "folder" | "files" | "dockerfile">,
  target: string,
): void {
  const files = [...new Set([...recipe.files, recipe.dockerfile])].sort();
  for (const folder of new Set([".", ...files.flatMap(foldersOf)])) {
    mkdirSync(join(target, folder), { recursive: true });
    chmodSync(join(target, folder), 0o755);
  }
  for (const file of files) {
    const from = join(recipe.folder, file);
    const to = join(target, file);
    copyFileSync(from, to);
    chmodSync(to, (statSync(from).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

/** `a/b/c` is in `a` and `a/b`. */
const foldersOf = (file: string): string[] =>
  file.split("/").map((_, index, parts) => parts.slice(0, index).join("/"));

/** The id of the image. */
export async function buildImage(
  recipe: ImageRecipe,
  machine: BuildMachine,
  say: (line: string) => void,
): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-build-"));
  try {
    const context = join(directory, "context");
    stageContext(recipe, context);
    if (recipe.machineFolder !== null) writeMachineFiles(machine, join(context, recipe.machineFolder));
    const idFile = join(directory, "image-id");
    const named = (flag: string, values: Readonly<Record<string, string>>) =>
      Object.entries(values).flatMap(([name, value]) => [flag, `${name}=${value}`]);
    await mustDocker(
      `Building ${recipe.name}`,
      [
        ...["build", "--network=host", "--force-rm", `--iidfile=${idFile}`],
        ...["--file", join(context, recipe.dockerfile)],
        ...(recipe.anew === true ? ["--no-cache"] : []),
        ...(recipe.target === undefined ? [] : ["--target", recipe.target]),
        ...(recipe.platform === undefined ? [] : ["--platform", recipe.platform]),
        ...named("--build-arg", recipe.arguments),
        ...proxyArguments(machine),
        ...named("--label", recipe.labels),
        context,
      ],
      {
        timeoutMs: BUILD_TIMEOUT_MS,
        env: await builderEnvironment(),
        onLine: (line) => {
          const progress = progressLine(line);
          if (progress !== null) say(progress);
        },
      },
    );
    return readFileSync(idFile, "utf8").trim();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
