/** All rings share one queue, side by side: slow ones first, so that no long file begins when the others are through. */
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { isRingName, RING_NAMES } from "./rings.ts";

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // Within a ring as Vitest has it: failed ones, then by the time of the last run, or by size.
    const sorted = await super.sort(files);
    return sorted.sort((a, b) => weight(b) - weight(a));
  }
}

function weight({ project: { name } }: TestSpecification): number {
  return isRingName(name) ? RING_NAMES.indexOf(name) : -1;
}
