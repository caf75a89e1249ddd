/** What was found, and how it is told. Pure. */

/** `weaker`: it works, with less than designed, or could not be tried. `broken`: do not let users in. */
export interface Finding {
  readonly state: "holds" | "weaker" | "broken";
  readonly title: string;
  readonly detail: string;
}

export type Verdict = Omit<Finding, "title">;

export const holds = (detail: string): Verdict => ({ state: "holds", detail });
export const weaker = (detail: string): Verdict => ({ state: "weaker", detail });
export const broken = (detail: string): Verdict => ({ state: "broken", detail });
export const either = (good: boolean, detail: string, otherwise: string): Verdict =>
  good ? holds(detail) : broken(otherwise);

/** What an endpoint says is shown in one line, and not without end. */
export const short = (text: string): string => {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
};

export function render(findings: readonly Finding[]): string[] {
  const width = Math.max(...findings.map(({ title }) => title.length));
  return findings.map(({ state, title, detail }) => `${state.padEnd(6)}  ${title.padEnd(width)}  ${detail}`);
}

export function summary(findings: readonly Finding[]): string {
  const count = (state: Finding["state"]) => findings.filter((finding) => finding.state === state).length;
  if (count("broken") > 0) return `Not verified: ${count("broken")} of ${findings.length} checks are broken.`;
  return count("weaker") > 0
    ? `Verified: ${count("holds")} checks hold, ${count("weaker")} are weaker than designed or could not be tried.`
    : `Verified: all ${findings.length} checks hold.`;
}
