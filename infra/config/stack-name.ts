/** Names of stacks: they are part of what the stack names outside Pulumi. Pure. */
import type { Target } from "./schema.ts";

/** A bucket's name prefix has at most 37 characters: `kernelyard-STACK-access-`. */
const LONGEST_AWS = 18;
/** Of an image repository `kernelyard-STACK/custom-rce-kernel`, a container, a folder below /var/lib. */
const LONGEST = 40;

/** What is wrong with it, with the remedy; null: nothing. Images, buckets and repositories take lower case only. */
export function stackNameProblem(stack: string, target: Target): string | null {
  const longest = target === "aws" ? LONGEST_AWS : LONGEST;
  const wrong = !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(stack)
    ? "must be lower-case letters and digits, with single hyphens between them"
    : stack.length > longest
      ? `has ${stack.length} characters, ${longest} fit into the names of what target ${target} makes`
      : null;
  if (wrong === null) return null;
  return `The stack's name ${stack} ${wrong}. Remedy: pulumi stack rename NAME (or pulumi stack init NAME), and rename its file Pulumi.${stack}.yaml`;
}
