/** One look at the whole service: what it counts as it goes, and what is asked of its parts now. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { type ProcessFigures, processFigures } from "../../common/process-figures.ts";
import type { LauncherHealth, Sandbox } from "../../common/protocol/launcher-api.ts";
import type { LauncherFigures } from "../../common/protocol/launcher-figures.ts";
import type { Settings } from "../../common/settings/read.ts";
import type { CopyFigures } from "../audit/copy/copy.ts";
import type { Glance } from "../execution/canary.ts";
import type { Usage } from "../files/store.ts";
import { type FleetFigures, FORWARDS, SAVES, TRAVELS, WAITS } from "../fleet/figures.ts";
import type { KernelFigures } from "../sessions/kernels.ts";
import type { Metrics, Reading } from "./metrics.ts";

/** Prometheus waits 10 s for a whole scrape; what does not answer by then is away. */
const ANSWER_WITHIN_MS = 5_000;
const LOOP_RESOLUTION_MS = 20;

export interface ScrapeOptions {
  readonly settings: Pick<Settings, "fileStore" | "filesTotalBytes" | "sessionDiskBytes">;
  readonly metrics: Metrics;
  readonly kernels: { readonly figures: KernelFigures; unowned(present: readonly Sandbox[]): number };
  readonly executor: { readonly running: number };
  readonly inFlight: { readonly count: number };
  readonly programs: { readonly size: number };
  readonly memory: { readonly held: number; readonly bytes: number };
  readonly canary: { glance(): Glance };
  readonly audit: { readonly lost: number; readonly copied: CopyFigures | null } | null;
  /** Null: this host is alone. */
  readonly fleet: { readonly figures: FleetFigures } | null;
  readonly files: { usage(holder: null): Promise<Usage> };
  readonly launcher: {
    health(): Promise<LauncherHealth>;
    figures(): Promise<LauncherFigures>;
    list(): Promise<readonly Sandbox[]>;
  };
}

export class Scrape {
  readonly #options: ScrapeOptions;
  readonly #loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  #underWay: Promise<void> | null = null;

  constructor(options: ScrapeOptions) {
    this.#options = options;
    this.#loop.enable();
  }

  get contentType(): string {
    return this.#options.metrics.contentType;
  }

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    await this.#joinLook();
    return this.#options.metrics.text();
  }

  /** The same, for the console. */
  async read(): Promise<Reading> {
    await this.#joinLook();
    return this.#options.metrics.read();
  }

  stop(): void {
    this.#loop.disable();
  }

  /** Joins the look that is under way: many askers cost no more than one. */
  #joinLook(): Promise<void> {
    this.#underWay ??= this.#look().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  async #look(): Promise<void> {
    const { launcher, files, settings } = this.#options;
    const [health, figures, list, usage, own] = await Promise.all([
      answer(launcher.health()),
      answer(launcher.figures()),
      answer(launcher.list()),
      // A bucket is not counted for this.
      settings.fileStore === "disk" ? answer(files.usage(null)) : null,
      processFigures(),
    ]);
    this.#service();
    this.#fleet();
    this.#host(health, list);
    this.#launcher(figures);
    this.#processes(own, figures?.process ?? null);
    this.#files(usage);
  }

  #service(): void {
    const { canary, executor, inFlight, kernels, memory, metrics, programs } = this.#options;
    const { busy, doomed, live, poolReady, poolWanted, waiting } = kernels.figures;
    const { durationMs, ok, sinceProvenMs } = canary.glance();
    metrics.set("kernelyard_requests_in_flight", inFlight.count);
    metrics.set("kernelyard_executions_running", executor.running);
    metrics.set("kernelyard_calls_waiting", waiting);
    metrics.set("kernelyard_programs", programs.size);
    metrics.set("kernelyard_sessions_live", live);
    metrics.set("kernelyard_pool_ready", poolReady);
    metrics.set("kernelyard_pool_size", poolWanted);
    metrics.set("kernelyard_places_busy", busy);
    metrics.set("kernelyard_sandboxes_doomed", doomed);
    metrics.set("kernelyard_request_memory_bytes", memory.held);
    metrics.set("kernelyard_request_memory_limit_bytes", memory.bytes);
    metrics.set("kernelyard_canary_ok", ok ? 1 : 0);
    metrics.set("kernelyard_canary_age_seconds", sinceProvenMs / 1000);
    metrics.set("kernelyard_canary_duration_seconds", durationMs === null ? null : durationMs / 1000);
    metrics.set("kernelyard_event_loop_delay_seconds", this.#loopDelay());
    metrics.counted("kernelyard_audit_lost_total", [[{}, this.#options.audit?.lost ?? 0]]);
    this.#auditCopy();
    metrics.set("kernelyard_time_seconds", Date.now() / 1000);
  }

  #auditCopy(): void {
    const { audit, metrics } = this.#options;
    const copied = audit?.copied ?? null;
    metrics.set("kernelyard_audit_copy_age_seconds", copied === null ? null : copied.ageMs / 1000);
    if (copied === null) return;
    metrics.counted("kernelyard_audit_copies_total", [
      [{ outcome: "put" }, copied.puts],
      [{ outcome: "failed" }, copied.failures],
    ]);
  }

  #fleet(): void {
    const { fleet, metrics } = this.#options;
    const figures = fleet?.figures ?? null;
    metrics.set("kernelyard_fleet_member", flag(figures?.member ?? null));
    metrics.set("kernelyard_fleet_hosts", figures?.hosts ?? null);
    if (figures === null) return;
    const { forwards, sessions, waits, workspaces } = figures;
    metrics.counted(
      "kernelyard_fleet_forwards_total",
      FORWARDS.map((outcome) => [{ outcome }, forwards[outcome]]),
    );
    metrics.counted(
      "kernelyard_fleet_waits_total",
      WAITS.map((reason) => [{ reason }, waits[reason]]),
    );
    metrics.counted(
      "kernelyard_fleet_sessions_total",
      TRAVELS.map((outcome) => [{ outcome }, sessions[outcome]]),
    );
    metrics.counted(
      "kernelyard_fleet_workspaces_total",
      SAVES.map((outcome) => [{ outcome }, workspaces[outcome]]),
    );
  }

  #host(health: LauncherHealth | null, list: readonly Sandbox[] | null): void {
    const { kernels, metrics, settings } = this.#options;
    metrics.set("kernelyard_launcher_up", health === null ? 0 : 1);
    metrics.set("kernelyard_engine_up", health?.engine.state === "ok" ? 1 : 0);
    metrics.set("kernelyard_sandboxes_unowned", list === null ? null : kernels.unowned(list));
    metrics.set("kernelyard_places_taken", health?.sandboxes ?? null);
    metrics.set("kernelyard_places_capacity", health?.capacity ?? null);
    metrics.set("kernelyard_memory_budget_bytes", health?.memory_budget_bytes ?? null);
    const promised = health === null ? null : health.sandboxes * health.sandbox_memory_bytes;
    metrics.set("kernelyard_memory_promised_bytes", promised);
    metrics.set("kernelyard_session_volumes_ok", flag(health && health.session_volume_problem === null));
    metrics.set("kernelyard_session_disk_quota", flag(health && health.session_disk_quota === "loop"));
    metrics.set("kernelyard_disk_total_bytes", health?.disk?.total ?? null);
    metrics.set("kernelyard_disk_free_bytes", health?.disk?.free ?? null);
    metrics.set("kernelyard_disk_reserve_bytes", health?.disk?.reserve ?? null);
    const sessionDisk = health?.session_disk_quota === "loop" ? settings.sessionDiskBytes : 0;
    metrics.set("kernelyard_session_disk_bytes", health === null ? null : sessionDisk);
    metrics.set("kernelyard_disk_promised", flag(health?.disk_promised ?? null));
    metrics.set("kernelyard_checkpoints_on", flag(health && health.checkpoints.state === "on"));
    metrics.set("kernelyard_sessions_sleeping", health?.checkpoints.sleeping ?? null);
    metrics.set("kernelyard_sleeping_bytes", health?.checkpoints.sleeping_bytes ?? null);
    if (health !== null) {
      metrics.counted("kernelyard_checkpoint_starts_total", [
        [{ outcome: "restored" }, health.checkpoints.restored],
        [{ outcome: "failed" }, health.checkpoints.failed],
      ]);
    }
    metrics.set("kernelyard_info", health === null ? [] : [[whatRuns(health), 1]]);
  }

  /** An away launcher's counts are left out: at 0 they would look like a restart. */
  #launcher(figures: LauncherFigures | null): void {
    const { metrics } = this.#options;
    metrics.set("kernelyard_loop_devices", figures?.loop_devices ?? null);
    metrics.set("kernelyard_session_volumes", figures?.session_volumes?.count ?? null);
    metrics.set("kernelyard_session_volume_bytes", figures?.session_volumes?.bytes ?? null);
    if (figures === null) return;
    const { ends, engine_calls: calls, orphans, starts } = figures;
    metrics.counted(
      "kernelyard_sandbox_starts_total",
      starts.map(({ kind, outcome, count }) => [{ kind, outcome }, count]),
    );
    metrics.counted(
      "kernelyard_sandbox_start_seconds_total",
      starts.map(({ kind, outcome, seconds }) => [{ kind, outcome }, seconds]),
    );
    metrics.counted(
      "kernelyard_sandbox_ends_total",
      ends.map(({ kind, reason, count }) => [{ kind, reason }, count]),
    );
    metrics.counted("kernelyard_orphans_total", [
      [{ what: "containers" }, orphans.containers],
      [{ what: "devices" }, orphans.devices],
    ]);
    metrics.counted(
      "kernelyard_engine_calls_total",
      calls.map(({ operation, outcome, count }) => [{ operation, outcome }, count]),
    );
    metrics.counted(
      "kernelyard_engine_call_seconds_total",
      calls.map(({ operation, outcome, seconds }) => [{ operation, outcome }, seconds]),
    );
  }

  #processes(gateway: ProcessFigures, launcher: ProcessFigures | null): void {
    const { metrics } = this.#options;
    const both = [
      ["gateway", gateway],
      ["launcher", launcher],
    ] as const;
    const rows = (of: (figures: ProcessFigures) => number | null) =>
      both.flatMap(([process, figures]) => {
        const value = figures === null ? null : of(figures);
        return value === null ? [] : [[{ process }, value] as const];
      });
    metrics.set(
      "kernelyard_open_descriptors",
      rows((figures) => figures.open_descriptors),
    );
    metrics.set(
      "kernelyard_max_descriptors",
      rows((figures) => figures.max_descriptors),
    );
    metrics.set(
      "kernelyard_resident_bytes",
      rows((figures) => figures.resident_bytes),
    );
    metrics.set(
      "kernelyard_start_time_seconds",
      rows((figures) => figures.started_at_seconds),
    );
    metrics.counted(
      "kernelyard_cpu_seconds_total",
      rows((figures) => figures.cpu_seconds),
    );
  }

  #files(usage: Usage | null): void {
    const { metrics, settings } = this.#options;
    metrics.set("kernelyard_files_stored", usage?.files ?? null);
    metrics.set("kernelyard_files_bytes", usage?.bytes ?? null);
    metrics.set("kernelyard_files_limit_bytes", settings.filesTotalBytes);
  }

  /** The histogram counts the timer's own distance, too. */
  #loopDelay(): number {
    const ns = this.#loop.percentile(99);
    this.#loop.reset();
    return Math.max(0, ns / 1e9 - LOOP_RESOLUTION_MS / 1000);
  }
}

const flag = (value: boolean | null) => (value === null ? null : value ? 1 : 0);

function whatRuns({ engine, isolation, profiles, runtime_version }: LauncherHealth) {
  return {
    isolation,
    runtime: runtime_version,
    engine: engine.state === "ok" ? engine.version : "",
    image: profiles[0]?.digest ?? "",
  };
}

/** Null: it failed, or did not answer in time. */
async function answer<T>(asked: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ANSWER_WITHIN_MS);
  });
  const answered = asked.catch(() => null);
  return Promise.race([answered, late]).finally(() => clearTimeout(timer));
}
