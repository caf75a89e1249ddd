/** Healthy means "has just executed code": in a real sandbox, on the way that a caller's code takes. */
import type { Logger } from "pino";
import type { LauncherHealth } from "../../common/protocol/launcher-api.ts";
import type { CallOutcome, Executor } from "./call.ts";

/** A proof is good for this long. */
const FRESH_MS = 30_000;
/** A failure is asked about again sooner, but not by every probe. */
const FAILED_FRESH_MS = 1_000;
const TIMEOUT_MS = 20_000;
const CODE = "print(6 * 7)";
const EXPECTED = "42\n";

export interface HealthReport {
  readonly healthy: boolean;
  /** Why not; null when healthy. */
  readonly problem: string | null;
  readonly lastCanary: { readonly at: string; readonly durationMs: number; readonly ok: boolean } | null;
  /** `null`: the launcher does not answer. */
  readonly launcher: LauncherHealth | null;
}

export interface HealthMonitor {
  /** For probes: at most one execution per `FRESH_MS`. */
  healthy(): Promise<boolean>;
  report(): Promise<HealthReport>;
}

export interface CanaryOptions {
  readonly executor: Executor;
  readonly launcher: { health(): Promise<LauncherHealth> };
  readonly log: Logger;
  readonly now?: () => number;
}

interface Proof {
  readonly at: number;
  readonly durationMs: number;
  readonly problem: string | null;
}

function problemOf(outcome: CallOutcome): string | null {
  switch (outcome.kind) {
    case "finished":
      return outcome.stdout === EXPECTED && outcome.exitCode === 0
        ? null
        : "the canary's code did not print what it should";
    // The host works to capacity: what runs in the other sandboxes is proof enough.
    case "host_full":
      return null;
    case "unavailable":
      return outcome.message;
    default:
      return `the canary's call ended as ${outcome.kind}`;
  }
}

export class Canary implements HealthMonitor {
  readonly #options: CanaryOptions;
  readonly #now: () => number;
  #last: Proof | null = null;
  #running: Promise<Proof> | null = null;

  constructor(options: CanaryOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  async healthy(): Promise<boolean> {
    return (await this.#proof()).problem === null;
  }

  async report(): Promise<HealthReport> {
    const [proof, launcher] = await Promise.all([
      this.#proof(),
      this.#options.launcher.health().catch(() => null),
    ]);
    return {
      healthy: proof.problem === null,
      problem: proof.problem,
      lastCanary: {
        at: new Date(proof.at).toISOString(),
        durationMs: Math.round(proof.durationMs),
        ok: proof.problem === null,
      },
      launcher,
    };
  }

  async #proof(): Promise<Proof> {
    const last = this.#last;
    const goodFor = last?.problem === null ? FRESH_MS : FAILED_FRESH_MS;
    if (last !== null && this.#now() - last.at < goodFor) return last;
    this.#running ??= this.#execute().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #execute(): Promise<Proof> {
    const started = performance.now();
    const outcome = await this.#options.executor.execute({
      language: "py",
      code: CODE,
      args: [],
      timeoutMs: TIMEOUT_MS,
      binding: { kind: "fresh" },
      inputs: [],
      outputs: null,
      signal: AbortSignal.timeout(2 * TIMEOUT_MS),
    });
    const proof = {
      at: this.#now(),
      durationMs: performance.now() - started,
      problem: problemOf(outcome),
    };
    const was = this.#last?.problem ?? null;
    if (proof.problem !== null && proof.problem !== was) {
      this.#options.log.warn({ problem: proof.problem }, "unhealthy");
    } else if (proof.problem === null && was !== null) {
      this.#options.log.info("healthy again");
    }
    this.#last = proof;
    return proof;
  }
}
