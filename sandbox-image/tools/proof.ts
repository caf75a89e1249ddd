/**
 * That an image has passed its verification, kept in the user's cache: by image, runtime and the verification's own digest.
 * A lost record costs one more verification.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { cacheDirectory } from "./lock.ts";
import type { Check } from "./verify/verify.ts";

export interface Proof {
  readonly id: string;
  readonly runtime: string;
  readonly verification: string;
}

const PREFIX = "verified-";
/** One record for each name: the image it names now. */
const recordOf = (name: string): string =>
  join(cacheDirectory(), `${PREFIX}${name.replace(/[^A-Za-z0-9.-]/g, "_")}`);
const textOf = (proof: Proof): string => `${proof.id} ${proof.runtime} ${proof.verification}\n`;

/** Whatever name it was proven under: an image is what its id says. */
export function isProven(proof: Proof): boolean {
  const folder = cacheDirectory();
  return readdirSync(folder)
    .filter((name) => name.startsWith(PREFIX))
    .some((name) => {
      try {
        return readFileSync(join(folder, name), "utf8") === textOf(proof);
      } catch {
        // Replaced in the meantime.
        return false;
      }
    });
}

export function recordProof(name: string, proof: Proof): void {
  writeFileSync(recordOf(name), textOf(proof));
}

const Recorded = z.object({ check: z.string(), ok: z.boolean(), seconds: z.number(), detail: z.string() });
const Checks = z.object({ id: z.string(), checks: z.array(Recorded) });
/** One for each name, as with proofs. */
const checksOf = (name: string): string =>
  join(cacheDirectory(), `checks-${name.replace(/[^A-Za-z0-9.-]/g, "_")}.json`);

/** What the verification of the image found, for tables. */
export function recordChecks(name: string, id: string, checks: readonly Check[]): void {
  writeFileSync(checksOf(name), JSON.stringify({ id, checks }));
}

/** Null: this image was verified elsewhere, or under another name. */
export function recordedChecks(name: string, id: string): readonly Check[] | null {
  try {
    const recorded = Checks.parse(JSON.parse(readFileSync(checksOf(name), "utf8")));
    return recorded.id === id ? recorded.checks : null;
  } catch {
    return null;
  }
}
