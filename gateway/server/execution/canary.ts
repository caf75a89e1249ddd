/**
 * Healthy means "has just executed code": in a real sandbox, on the way that a caller's code takes. Probes are answered
 * from the last execution while the next one is under way, and a host that is slow under load is not sick: its last
 * proof is good for some minutes.
 */
import type { Logger } from "pino";
import type { LauncherHealth } from "../../common/protocol/launcher-api.ts";
import type { CallOutcome, Executor } from "./call.ts";

/** After this the next execution begins beside the answer. */
const FRESH_MS = 30_000;
/** A failure is asked about again sooner, but not by every probe. */
const FAILED_FRESH_MS = 5_000;
/** After this nobody is answered before the next execution has ended. */
const STALE_MS = 90_000;
/** What is too slow to say anything leaves the last proof in force for this long. */
const PROVEN_FOR_MS = 300_000;
export const TIMEOUT_MS = 20_000;
const CODE = "print(6 * 7)";
const EXPECTED = "42\n";

/** `host_full`: code is executed, in every place that there is. */
export type HealthState = "ok" | "host_full" | "unhealthy";

export interface HealthReport {
  readonly state: HealthState;
  /** Why it is unhealthy; null when it is not. */
  readonly problem: string | null;
  readonly lastCanary: { readonly at: string; readonly durationMs: number; readonly ok: boolean } | null;
  /** `null`: the launcher does not answer. */
  readonly launcher: LauncherHealth | null;
}

export interface Glance {
  readonly ok: boolean;
  /** Since the last execution that did what it should, or since the start while there was none. */
  readonly sinceProvenMs: number;
  /** Of the last execution. */
  readonly durationMs: number | null;
}

export interface HealthMonitor {
  /** For probes. */
  healthy(): Promise<boolean>;
  report(): Promise<HealthReport>;
}

export interface CanaryOptions {
  readonly executor: Executor;
  readonly launcher: { health(): Promise<LauncherHealth> };
  /** Calls run in every place of the host. */
  readonly full: () => boolean;
  readonly log: Logger;
  /** Milliseconds that a clock of its own has run, whatever the time of day does. */
  readonly elapsed?: () => number;
}

type Verdict =
  | { readonly kind: "proven" }
  /** Code is not executed. */
  | { readonly kind: "sick"; readonly problem: string }
  /** Nothing came of it in time. */
  | { readonly kind: "slow"; readonly problem: string };

interface Look {
  readonly verdict: Verdict;
  readonly endedAt: number;
  readonly at: string;
  readonly durationMs: number;
}

function verdictOn(outcome: CallOutcome): Verdict {
  switch (outcome.kind) {
    case "finished":
      if (outcome.reason === "timeout")
        return { kind: "slow", problem: "the canary's code ran into its time limit" };
      return outcome.stdout === EXPECTED && outcome.exitCode === 0
        ? { kind: "proven" }
        : { kind: "sick", problem: "the canary's code did not print what it should" };
    case "host_full":
      return { kind: "slow", problem: "the host is full, and nothing gave way to the canary" };
    case "cancelled":
      return { kind: "slow", problem: "the canary found no sandbox in time" };
    case "unavailable":
      return { kind: "sick", problem: outcome.message };
    default:
      return { kind: "sick", problem: `the canary's call ended as ${outcome.kind}` };
  }
}

export class Canary implements HealthMonitor {
  readonly #options: CanaryOptions;
  readonly #elapsed: () => number;
  #last: Look | null = null;
  #provenAt: number | null = null;
  readonly #beganAt: number;
  #running: Promise<Look> | null = null;

  constructor(options: CanaryOptions) {
    this.#options = options;
    this.#elapsed = options.elapsed ?? (() => performance.now());
    this.#beganAt = this.#elapsed();
  }

  async healthy(): Promise<boolean> {
    return this.#problem(await this.#look()) === null;
  }

  /** What is known now; the next execution begins beside it when it is due. For whoever must not wait. */
  glance(): Glance {
    const last = this.#last;
    void this.#look();
    const now = this.#elapsed();
    return {
      ok: last !== null && this.#problem(last) === null,
      sinceProvenMs: now - (this.#provenAt ?? this.#beganAt),
      durationMs: last?.durationMs ?? null,
    };
  }

  async report(): Promise<HealthReport> {
    const [look, launcher] = await Promise.all([
      this.#look(),
      this.#options.launcher.health().catch(() => null),
    ]);
    const problem = this.#problem(look);
    const { at, durationMs, verdict } = look;
    return {
      state: problem !== null ? "unhealthy" : this.#options.full() ? "host_full" : "ok",
      problem,
      lastCanary: { at, durationMs: Math.round(durationMs), ok: verdict.kind === "proven" },
      launcher,
    };
  }

  #problem({ verdict }: Look): string | null {
    if (verdict.kind === "proven") return null;
    const proven = this.#provenAt !== null && this.#elapsed() - this.#provenAt < PROVEN_FOR_MS;
    return verdict.kind === "slow" && proven ? null : verdict.problem;
  }

  async #look(): Promise<Look> {
    const last = this.#last;
    if (last === null) return this.#execute();
    const age = this.#elapsed() - last.endedAt;
    if (age > STALE_MS) return this.#execute();
    if (age >= (last.verdict.kind === "proven" ? FRESH_MS : FAILED_FRESH_MS)) void this.#execute();
    return last;
  }

  /** Joins the execution that is under way. Never rejects. */
  #execute(): Promise<Look> {
    this.#running ??= this.#attempt().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #attempt(): Promise<Look> {
    const started = this.#elapsed();
    const verdict = await this.#verdict();
    const endedAt = this.#elapsed();
    const look = { verdict, endedAt, at: new Date().toISOString(), durationMs: endedAt - started };
    if (verdict.kind === "proven") this.#provenAt = endedAt;
    const was = this.#last === null ? null : this.#problem(this.#last);
    this.#last = look;
    const problem = this.#problem(look);
    if (problem !== null && problem !== was) this.#options.log.warn({ problem }, "unhealthy");
    else if (problem === null && was !== null) this.#options.log.info("healthy again");
    return look;
  }

  async #verdict(): Promise<Verdict> {
    try {
      const outcome = await this.#options.executor.execute({
        language: "py",
        code: CODE,
        args: [],
        timeoutMs: TIMEOUT_MS,
        binding: { kind: "fresh", caller: null },
        inputs: [],
        outputs: null,
        signal: AbortSignal.timeout(2 * TIMEOUT_MS),
      });
      return verdictOn(outcome);
    } catch (error) {
      return { kind: "sick", problem: error instanceof Error ? error.message : String(error) };
    }
  }
}
