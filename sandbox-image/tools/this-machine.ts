/** This machine, for `buildMachine`: its environment, its files, and what apt was told. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { type BuildMachine, buildMachine } from "./build-machine.ts";

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** Nothing where there is no apt. */
function aptProxy(scheme: "http" | "https"): string | null {
  const said = spawnSync("apt-config", ["shell", "proxy", `Acquire::${scheme}::Proxy`], {
    encoding: "utf8",
    timeout: 10_000,
  });
  return /^proxy='(.+)'$/m.exec(said.stdout ?? "")?.[1] ?? null;
}

export const thisMachine = (env: NodeJS.ProcessEnv = process.env): BuildMachine =>
  buildMachine({ env, home: homedir(), read, aptProxy });
