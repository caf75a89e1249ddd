/** What is run to see how a sandbox holds the code in it, by the doctor in a container of its own and by the console as a call. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { z } from "@hono/zod-openapi";

export const PROBE = readFileSync(join(import.meta.dirname, "probe.py"), "utf8");
/** Imported by the probe, beside what is in the image. */
export const PROBED_LIBRARIES = ["numpy", "pandas", "scipy", "matplotlib", "IPython", "ipykernel"];
/** Begins the one line that is the answer. */
const ANSWER = /^kernelyard-doctor:(.*)\n/m;

export const hasAnswered = (stdout: string): boolean => ANSWER.test(stdout);

/** Null: it ended without an answer. Throws on one that is none. */
export function answerOf<T extends z.ZodType>(stdout: string, schema: T): z.output<T> | null {
  const answer = ANSWER.exec(stdout)?.[1];
  return answer === undefined ? null : schema.parse(JSON.parse(answer));
}
