/**
 * That an image has passed its verification, kept in the user's cache: by image, runtime and the verification's own digest.
 * A lost record costs one more verification.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "./lock.ts";

export interface Proof {
  readonly id: string;
  readonly runtime: string;
  readonly verification: string;
}

/** One record for each tag: the image it names now. */
const recordOf = (tag: string): string =>
  join(cacheDirectory(), `verified-${tag.replace(/[^A-Za-z0-9.-]/g, "_")}`);
const textOf = (proof: Proof): string => `${proof.id} ${proof.runtime} ${proof.verification}\n`;

export function isProven(tag: string, proof: Proof): boolean {
  try {
    return readFileSync(recordOf(tag), "utf8") === textOf(proof);
  } catch {
    return false;
  }
}

export function recordProof(tag: string, proof: Proof): void {
  writeFileSync(recordOf(tag), textOf(proof));
}
