/** A stack on the real Pulumi engine: inline program, files as the backend, the test providers on PATH. */
import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { LocalWorkspace, type Stack } from "@pulumi/pulumi/automation/index.js";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { kernelyard, SURROUNDINGS } from "../../infra/program.ts";

export const ROOT = join(import.meta.dirname, "../..");
const PROVIDERS = join(import.meta.dirname, "providers");
const run = promisify(execFile);

/** The first set-up may have to build the Pulumi command. */
export const SET_UP_WITHIN_MS = 1_200_000;

/** The Pulumi command, built once where it cannot be had otherwise. */
export async function pulumiDirectory(): Promise<string> {
  const { stdout } = await run("bash", [join(import.meta.dirname, "pulumi-cli.sh")], { timeout: 1_200_000 });
  return stdout.trim();
}

const StackFile = z.looseObject({ config: z.record(z.string(), z.unknown()).optional() });

export interface TestStack {
  readonly stack: Stack;
  readonly folder: string;
  /** Changes keys of the stack's file. */
  configure(changes: Readonly<Record<string, unknown>>): void;
  remove(): Promise<void>;
}

export async function openStack(
  name: string,
  config: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string>> = {},
  providers: "acting" | "recording" = "acting",
): Promise<TestStack> {
  const directory = await pulumiDirectory();
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-pulumi-"));
  const backend = join(folder, "state");
  mkdirSync(backend);
  const projectRoot = projectCopy(join(folder, "project"));
  writeFileSync(join(folder, "Pulumi.yaml"), projectFile(backend));
  const node = join(ROOT, "node_modules/.bin");
  // The Automation API looks for the command on this process's PATH.
  const recording = providers === "recording" ? [join(PROVIDERS, "recording")] : [];
  process.env.PATH = [directory, ...recording, PROVIDERS, node, process.env.PATH].join(":");
  const stack = await LocalWorkspace.createOrSelectStack(
    {
      stackName: name,
      projectName: "kernelyard",
      program: async () => ({ ...(await kernelyard({ ...SURROUNDINGS, projectRoot })) }),
    },
    {
      workDir: folder,
      pulumiHome: join(folder, "home"),
      envVars: {
        PATH: process.env.PATH,
        PULUMI_CONFIG_PASSPHRASE: "test",
        PULUMI_SKIP_UPDATE_CHECK: "true",
        PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
        ...environment,
      },
    },
  );
  const file = join(folder, `Pulumi.${name}.yaml`);
  // The file an operator writes; what Pulumi itself put there (the encryption's salt) stays.
  const configure = (changes: Readonly<Record<string, unknown>>) => {
    const present = existsSync(file) ? StackFile.parse(parse(readFileSync(file, "utf8"))) : {};
    const added = Object.fromEntries(
      Object.entries(changes).map(([key, value]) => [`kernelyard:${key}`, value]),
    );
    writeFileSync(file, stringify({ ...present, config: { ...present.config, ...added } }));
  };
  configure(config);
  return {
    stack,
    folder,
    configure,
    async remove() {
      const options = {
        cwd: folder,
        env: { ...process.env, ...stack.workspace.envVars, PULUMI_HOME: join(folder, "home") },
      };
      await run("pulumi", ["state", "unprotect", "--all", "--yes", "--stack", name], options);
      await stack.destroy();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Kinds of what one more update did; nothing but `same` when all is as the program says. */
export async function changes(stack: Stack): Promise<string[]> {
  const up = await stack.up();
  return Object.keys(up.summary.resourceChanges ?? {});
}

/** What the stack's images are made of, as it is now: a test must not see edits made while it runs. */
function projectCopy(folder: string): string {
  for (const entry of ["package.json", "package-lock.json", ".npmrc", "gateway", "infra"]) {
    cpSync(join(ROOT, entry), join(folder, entry), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

/** The project as it is, its declared configuration included; only the state is kept elsewhere. */
function projectFile(backend: string): string {
  const project = z
    .record(z.string(), z.unknown())
    .parse(parse(readFileSync(join(ROOT, "Pulumi.yaml"), "utf8")));
  return stringify({ ...project, backend: { url: `file://${backend}` } });
}
