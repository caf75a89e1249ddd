/** The words behind `npm run bench --`. */

export interface BenchRequest {
  /** In the order in which they are measured. */
  readonly names: readonly string[];
  readonly runs: number;
  /** A fifth of the calls: where it stands, in a few minutes. */
  readonly quick: boolean;
  /** The result becomes the one that the documentation shows. */
  readonly reference: boolean;
}

const MOST_RUNS = 20;

/** Throws with what to write instead. `usual`: measured when none is named. */
export function readBenchRequest(
  words: readonly string[],
  usual: readonly string[],
  further: readonly string[],
): BenchRequest {
  const names: string[] = [];
  let runs = 1;
  const flags = { quick: false, reference: false };
  for (let n = 0; n < words.length; n += 1) {
    const word = words[n] ?? "";
    if (word === "--runs") {
      n += 1;
      runs = Number(words[n]);
      if (!Number.isInteger(runs) || runs < 1 || runs > MOST_RUNS)
        throw new Error(`--runs takes a whole number from 1 to ${MOST_RUNS}, not ${words[n] ?? "nothing"}.`);
    } else if (word === "--quick" || word === "--reference") {
      flags[word === "--quick" ? "quick" : "reference"] = true;
    } else if (usual.includes(word) || further.includes(word)) {
      names.push(word);
    } else {
      throw new Error(
        `There is no row ${word}: ${[...usual, ...further].join(", ")}; --runs N, --quick, --reference.`,
      );
    }
  }
  return { names: names.length === 0 ? usual : names, runs, ...flags };
}
