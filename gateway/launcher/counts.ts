/** What the launcher has done since its start, in numbers. */
import type { SandboxEnd } from "../common/protocol/launcher-api.ts";
import type { EngineOutcome, LauncherFigures } from "../common/protocol/launcher-figures.ts";

type Kind = "session" | "fresh";
type Start = LauncherFigures["starts"][number]["outcome"];

export class Counts {
  readonly #engineCalls = new Map<string, LauncherFigures["engine_calls"][number]>();
  readonly #starts = new Map<string, LauncherFigures["starts"][number]>();
  readonly #ends = new Map<string, LauncherFigures["ends"][number]>();
  #orphans: LauncherFigures["orphans"] = { containers: 0, devices: 0 };

  get(): Pick<LauncherFigures, "engine_calls" | "starts" | "ends" | "orphans"> {
    return {
      engine_calls: [...this.#engineCalls.values()],
      starts: [...this.#starts.values()],
      ends: [...this.#ends.values()],
      orphans: this.#orphans,
    };
  }

  /** `what`: in the engine's own words, such as `create container`. */
  engineCall(what: string, outcome: EngineOutcome, ms: number): void {
    const operation = what.replaceAll(" ", "_");
    const key = `${operation} ${outcome}`;
    const { count, seconds } = this.#engineCalls.get(key) ?? { count: 0, seconds: 0 };
    this.#engineCalls.set(key, { operation, outcome, count: count + 1, seconds: seconds + ms / 1000 });
  }

  start(kind: Kind, outcome: Start, ms: number): void {
    const key = `${kind} ${outcome}`;
    const { count, seconds } = this.#starts.get(key) ?? { count: 0, seconds: 0 };
    this.#starts.set(key, { kind, outcome, count: count + 1, seconds: seconds + ms / 1000 });
  }

  end(kind: Kind, reason: SandboxEnd["reason"]): void {
    const key = `${kind} ${reason}`;
    const count = (this.#ends.get(key)?.count ?? 0) + 1;
    this.#ends.set(key, { kind, reason, count });
  }

  orphan(what: keyof LauncherFigures["orphans"]): void {
    this.#orphans = { ...this.#orphans, [what]: this.#orphans[what] + 1 };
  }
}
