/**
 * A stack on the real Pulumi engine, as an operator has one: a checkout, the sample's file with addresses filled in, files as
 * the backend. In place of Pulumi's language host, which is not to be had here, the program runs inline; the providers on PATH
 * are the tests' own.
 */
import { execFile } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { LocalWorkspace, type Stack } from "@pulumi/pulumi/automation/index.js";
import { parse, stringify } from "yaml";
import { z } from "zod";
import type { Target } from "../../infra/config/schema.ts";
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

/** All that a test may say otherwise than the target's sample: where things are. */
const ADDRESSES: Readonly<Record<Target, readonly string[]>> = {
  local: ["port", "registryPort"],
  // A bucket for several machines is in the sample as a comment.
  hosts: ["hosts", "sshKeyFile", "fileStore"],
  aws: [],
};

const StackFile = z.looseObject({ config: z.record(z.string(), z.unknown()).optional() });
type Values = Readonly<Record<string, unknown>>;

export interface TestStack {
  readonly stack: Stack;
  /** The operator's checkout. */
  readonly checkout: string;
  /** An operator's change of the stack's file. */
  configure(changes: Values): void;
  /** The same stack from another operator's checkout, who has another umask and home. */
  elsewhere(): Promise<Stack>;
  /** The `pulumi` command in the checkout. */
  pulumi(...args: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

export interface StackOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** Folders before the acting providers on PATH. */
  readonly recording?: boolean;
  readonly home?: string;
}

/** The sample of the target, unchanged but for addresses. */
export async function openStack(
  target: Target,
  name: string,
  addresses: Values,
  options: StackOptions = {},
): Promise<TestStack> {
  const more = Object.keys(addresses).filter((key) => !ADDRESSES[target].includes(key));
  if (more.length > 0) throw new Error(`not an address, so it must be as in the sample: ${more.join(", ")}`);
  const directory = await pulumiDirectory();
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-pulumi-"));
  const state = join(folder, "state");
  mkdirSync(state);
  // The Automation API looks for the command on this process's PATH.
  const recording = options.recording === true ? [join(PROVIDERS, "recording")] : [];
  const node = join(ROOT, "node_modules/.bin");
  process.env.PATH = [directory, ...recording, PROVIDERS, node, process.env.PATH].join(":");
  const envVars = {
    PATH: process.env.PATH,
    PULUMI_CONFIG_PASSPHRASE: "test",
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
    ...options.environment,
  };
  const open = (checkout: string, home: string): Promise<Stack> =>
    LocalWorkspace.createOrSelectStack(
      {
        stackName: name,
        projectName: "kernelyard",
        program: async () => ({ ...(await kernelyard({ ...SURROUNDINGS, home, projectRoot: checkout })) }),
      },
      { workDir: checkout, pulumiHome: join(folder, "pulumi-home"), envVars },
    );

  const checkout = checkOut(join(folder, "checkout"), state);
  const file = join(checkout, `Pulumi.${name}.yaml`);
  cpSync(join(ROOT, `infra/samples/Pulumi.${target}.sample.yaml`), file);
  const configure = (changes: Values) => {
    const present = StackFile.parse(parse(readFileSync(file, "utf8")));
    const added = Object.fromEntries(
      Object.entries(changes).map(([key, value]) => [`kernelyard:${key}`, value]),
    );
    // What Pulumi itself put there (the encryption's salt) stays.
    writeFileSync(file, stringify({ ...present, config: { ...present.config, ...added } }));
  };
  if (Object.keys(addresses).length > 0) configure(addresses);
  const stack = await open(checkout, options.home ?? SURROUNDINGS.home);
  const pulumi = async (...args: readonly string[]) => {
    const env = { ...process.env, ...stack.workspace.envVars, PULUMI_HOME: join(folder, "pulumi-home") };
    return (await run("pulumi", [...args, "--stack", name], { cwd: checkout, env })).stdout;
  };
  return {
    stack,
    checkout,
    configure,
    pulumi,
    async elsewhere() {
      const other = checkOut(join(folder, "somebody-else", "work"), state);
      cpSync(file, join(other, `Pulumi.${name}.yaml`));
      // As a clone with umask 002 has it.
      for (const entry of readdirSync(other, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (entry.isSymbolicLink() || path.includes("node_modules")) continue;
        chmodSync(path, (statSync(path).mode & 0o777) | 0o020);
      }
      const home = join(folder, "somebody-else", "home");
      mkdirSync(home);
      return open(other, home);
    },
    async remove() {
      try {
        await pulumi("state", "unprotect", "--all", "--yes");
        await stack.destroy();
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

/** The sample's values as the program reads them. */
export function sampleOf(target: Target): (key: string) => string | undefined {
  const text = readFileSync(join(ROOT, `infra/samples/Pulumi.${target}.sample.yaml`), "utf8");
  const values = StackFile.parse(parse(text)).config ?? {};
  return (key) => {
    const value = values[`kernelyard:${key}`];
    return value === undefined || typeof value === "string" ? value : JSON.stringify(value);
  };
}

/** Kinds of what one more update did; nothing but `same` when all is as the program says. */
export async function changes(stack: Stack): Promise<string[]> {
  const up = await stack.up();
  return Object.keys(up.summary.resourceChanges ?? {});
}

/** The project as it is: a test must not see edits made while it runs. Only the state is kept elsewhere. */
function checkOut(folder: string, state: string): string {
  const entries = ["package.json", "package-lock.json", ".npmrc", "Pulumi.yaml"];
  for (const entry of [...entries, "gateway", "infra", "sandbox-image"]) {
    cpSync(join(ROOT, entry), join(folder, entry), {
      recursive: true,
      filter: (path) => !/__pycache__|\.(mypy|ruff)_cache/.test(path),
    });
  }
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const file = join(folder, "Pulumi.yaml");
  const project = z.record(z.string(), z.unknown()).parse(parse(readFileSync(file, "utf8")));
  writeFileSync(file, stringify({ ...project, backend: { url: `file://${state}` } }));
  return folder;
}
