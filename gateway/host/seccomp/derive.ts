/**
 * Makes `profile.json` from the engine's own default profile by taking away, as recorded in `derivation.json`:
 *
 *   npm run generate                                  writes profile.json, with every other committed copy
 *   npx node gateway/host/seccomp/derive.ts --check   exits 1 when profile.json is not what the derivation gives
 *
 * Needs Go, which fetches the source (checked by Go's module sums and by its sha256 here): the one in PATH, or where its own
 * installation puts it, as for gVisor (`lib/gvisor.sh`).
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "@hono/zod-openapi";

const Condition = z.object({
  caps: z.array(z.string()).optional(),
  arches: z.array(z.string()).optional(),
  minKernel: z.string().optional(),
});
const Argument = z.object({
  index: z.number(),
  value: z.number(),
  valueTwo: z.number().optional(),
  op: z.string(),
});
const Rule = z.object({
  names: z.array(z.string()).min(1),
  action: z.string(),
  errnoRet: z.number().optional(),
  args: z.array(Argument).nullish(),
  comment: z.string().optional(),
  includes: Condition.optional(),
  excludes: Condition.optional(),
});
export type Rule = z.infer<typeof Rule>;

export const Profile = z.object({
  defaultAction: z.string(),
  defaultErrnoRet: z.number().optional(),
  archMap: z.array(z.object({ architecture: z.string(), subArchitectures: z.array(z.string()).nullable() })),
  syscalls: z.array(Rule),
});
export type Profile = z.infer<typeof Profile>;

const Reasoned = z.object({ names: z.array(z.string()).min(1), reason: z.string().min(1) });
export const Derivation = z.object({
  source: z.object({
    module: z.string(),
    version: z.string(),
    file: z.string(),
    sha256: z.string(),
    license: z.string(),
  }),
  removed: z.array(Reasoned),
  removedRules: z.array(z.object({ what: z.string(), reason: z.string() })),
  keptSocketFamilies: z.record(z.string(), z.union([z.number(), z.literal("below 3")])),
  allowed: z.array(Reasoned),
});
export type Derivation = z.infer<typeof Derivation>;

/** Pure. Throws when the source has a kind of rule that this derivation was not written for. */
export function derive(source: Profile, derivation: Derivation): Profile {
  if (source.defaultAction !== "SCMP_ACT_ERRNO") throw new Error("The source does not refuse by default.");
  const removed = new Set(derivation.removed.flatMap((group) => group.names));
  const families = new Set(Object.values(derivation.keptSocketFamilies));
  const everywhere = new Set(derivation.allowed.flatMap((group) => group.names));
  const narrowed: Rule[] = [];

  for (const rule of source.syscalls) {
    const { includes, excludes } = rule;
    if (includes?.caps !== undefined || includes?.minKernel !== undefined) continue;
    // What remains to be refused is refused by default.
    if (rule.action === "SCMP_ACT_ERRNO") continue;
    if (rule.action !== "SCMP_ACT_ALLOW") throw new Error(`An action that is not known here: ${rule.action}`);
    const names = rule.names.filter((name) => !removed.has(name));
    if (names.length === 0) continue;
    const args = rule.args ?? [];
    if (args.length === 0) {
      // A call that an architecture does not have is passed over there, so its condition is not needed.
      for (const name of names) everywhere.add(name);
      continue;
    }
    if (names.includes("socket")) {
      const [family] = args;
      const kept = family?.op === "SCMP_CMP_LT" ? family.value === 3 && "below 3" : family?.value;
      if (kept === undefined || kept === false || !families.has(kept)) continue;
    }
    // Conditions on capabilities vanish: sandboxes have none.
    const arches = { include: includes?.arches, exclude: excludes?.arches };
    narrowed.push({
      names,
      action: rule.action,
      args,
      ...(arches.include === undefined ? {} : { includes: { arches: arches.include } }),
      ...(arches.exclude === undefined ? {} : { excludes: { arches: arches.exclude } }),
    });
  }
  return {
    defaultAction: source.defaultAction,
    defaultErrnoRet: source.defaultErrnoRet ?? 1,
    archMap: source.archMap,
    syscalls: [{ names: [...everywhere].sort(), action: "SCMP_ACT_ALLOW" }, ...narrowed],
  };
}

const PROGRAMS = ["go", "/usr/local/go/bin/go"];

function go(...args: readonly string[]): string {
  for (const program of PROGRAMS) {
    try {
      return execFileSync(program, args, { encoding: "utf8" });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  throw new Error(`No Go here (${PROGRAMS.join(", ")}): install golang-go, or put its folder into PATH.`);
}

function fetchSource(source: Derivation["source"]): Profile {
  const reply = go("mod", "download", "-json", `${source.module}@${source.version}`);
  const { Dir } = z.object({ Dir: z.string() }).parse(JSON.parse(reply));
  const text = readFileSync(join(Dir, source.file));
  const sha256 = createHash("sha256").update(text).digest("hex");
  if (sha256 !== source.sha256) throw new Error(`${source.file} has sha256 ${sha256}, not ${source.sha256}.`);
  return Profile.parse(JSON.parse(text.toString("utf8")));
}

if (import.meta.main) {
  const at = (name: string) => join(import.meta.dirname, name);
  const derivation = Derivation.parse(JSON.parse(readFileSync(at("derivation.json"), "utf8")));
  const profile = derive(fetchSource(derivation.source), derivation);
  const committed = Profile.safeParse(JSON.parse(readFileSync(at("profile.json"), "utf8")));
  if (!process.argv.includes("--check")) {
    // The rules are written in the project's own format, so that a check of it does not change the hash.
    const text = execFileSync("biome", ["format", `--stdin-file-path=${at("profile.json")}`], {
      input: JSON.stringify(profile, null, 2),
    });
    writeFileSync(at("profile.json"), text);
  } else if (!committed.success || !isDeepStrictEqual(committed.data, profile)) {
    process.stderr.write("profile.json is not what derivation.json gives: run npm run generate.\n");
    process.exitCode = 1;
  }
}
