/**
 * Every metric of the service, each said once: name, kind, help, labels and their values. `metrics.ts` keeps them,
 * `docs/metrics.md` is made of it, dashboards and alerts may query nothing else. A label never names a user, a tenant, a
 * session or a file: its values are the service's own words.
 */
import { SandboxEnd } from "../../common/protocol/launcher-api.ts";
import { EngineOutcome } from "../../common/protocol/launcher-figures.ts";
import { FORWARDS, SAVES, TRAVELS, WAITS } from "../fleet/figures.ts";
import { LOSSES } from "../sessions/losses.ts";

/** A label's values: all of them, or in words where the list is the code's (routes) or the image's (languages). */
type Values = readonly string[] | string;

export interface MetricSpec {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: Readonly<Record<string, Values>>;
  /** Upper bounds, in the metric's unit. */
  readonly buckets?: readonly number[];
}

const counter = <const L extends MetricSpec["labels"]>(help: string, labels: L) =>
  ({ kind: "counter", help, labels }) as const;
const gauge = <const L extends MetricSpec["labels"]>(help: string, labels: L) =>
  ({ kind: "gauge", help, labels }) as const;
const histogram = <const L extends MetricSpec["labels"]>(
  help: string,
  buckets: readonly number[],
  labels: L,
) => ({ kind: "histogram", help, labels, buckets }) as const;

const REQUEST = {
  method: "`GET`, `POST` …; `OTHER`",
  path: "the route's template, such as `/exec` or `/download/{session_id}/{file_id}`; `unmatched`",
  status: "HTTP status",
} as const;
const LANGUAGE = { language: "an id that the image declares; `other`" } as const;
const KIND = ["session", "fresh"] as const;
const PROCESS = ["gateway", "launcher"] as const;

/** How a call ended, or why it did not run. */
export const OUTCOMES = [
  "completed",
  "failed",
  "timeout",
  "output_limit",
  "out_of_memory",
  "interrupted",
  "kernel_died",
  "sandbox_ended",
  "busy",
  "host_full",
  "caller_full",
  "unavailable",
  "unsupported_language",
  "input_failed",
  "too_large",
  "fenced",
  "cancelled",
  "error",
] as const;

/** What in a call made its kernel start anew or go. */
export const CALL_LOSSES = [
  "timeout",
  "output_limit",
  "out_of_memory",
  "interrupted",
  "kernel_died",
  "exit",
] as const;

/** From a warm call to a long one. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const WAIT_SECONDS = [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 300];

export const METRICS = {
  http_requests_total: counter("Requests whose response is out.", REQUEST),
  http_request_duration_seconds: histogram(
    "From a request's head to the last byte of its response.",
    SECONDS,
    REQUEST,
  ),
  kernelyard_requests_in_flight: gauge("Requests whose response is not out yet.", {}),

  kernelyard_executions_total: counter(
    "Calls, by how they ended; the service's own check is not among them.",
    {
      ...LANGUAGE,
      outcome: OUTCOMES,
    },
  ),
  kernelyard_execution_seconds: histogram(
    "Time that code ran, as its sandbox measured it.",
    SECONDS,
    LANGUAGE,
  ),
  kernelyard_executions_running: gauge("Calls that run or wait.", {}),
  kernelyard_queue_wait_seconds: histogram(
    "Time that calls of a session waited for earlier ones of it.",
    WAIT_SECONDS,
    {},
  ),
  kernelyard_calls_waiting: gauge("Calls that wait for their session or for a place on the host.", {}),
  kernelyard_programs: gauge("Programs that call tools: they run, or wait for results.", {}),

  kernelyard_kernel_starts_total: counter("Calls that were served by a new kernel.", { kind: KIND }),
  kernelyard_kernel_restarts_total: counter(
    "Kernels that were replaced within their sandbox: variables lost.",
    {
      reason: CALL_LOSSES,
    },
  ),
  kernelyard_kernel_losses_total: counter(
    "Sessions that lost their sandbox with its variables, in a call or between two.",
    { reason: [...new Set([...CALL_LOSSES, "sandbox_ended", ...Object.keys(LOSSES)])] },
  ),
  kernelyard_sessions_live: gauge("Sessions with a kernel.", {}),
  kernelyard_checkpoints_on: gauge(
    "1: sandboxes are made from checkpoints and idle sessions sleep; 0: not, or not yet, `/health?detail` says why.",
    {},
  ),
  kernelyard_sessions_sleeping: gauge(
    "Sessions asleep: their variables are on the disk until the next call.",
    {},
  ),
  kernelyard_sleeping_bytes: gauge("What they take of the disk.", {}),
  kernelyard_checkpoint_starts_total: counter(
    "Sandboxes that were made from a checkpoint, and those that had to start anew instead.",
    { outcome: ["restored", "failed"] },
  ),
  kernelyard_pool_ready: gauge("Spare sandboxes, ready for a call without a session.", {}),
  kernelyard_pool_size: gauge("Spare sandboxes that are to be kept ready.", {}),

  kernelyard_places_busy: gauge("Places in which a call runs or for which a sandbox is being made.", {}),
  kernelyard_places_taken: gauge("Sandboxes on this host.", {}),
  kernelyard_places_capacity: gauge("Sandboxes that fit on this host.", {}),
  kernelyard_memory_budget_bytes: gauge("Memory that sandboxes may take together.", {}),
  kernelyard_memory_promised_bytes: gauge("Memory that the present sandboxes may take.", {}),
  kernelyard_request_memory_bytes: gauge("Memory that requests hold.", {}),
  kernelyard_request_memory_limit_bytes: gauge("Memory that requests may hold together.", {}),

  kernelyard_canary_ok: gauge("1: code was executed when it was last tried; 0: not, or not yet.", {}),
  kernelyard_canary_age_seconds: gauge(
    "Since code was last executed in a real sandbox, or since the start.",
    {},
  ),
  kernelyard_canary_duration_seconds: gauge("Time that the last check took.", {}),

  kernelyard_sandbox_starts_total: counter("Sandboxes that were made, or were to be.", {
    kind: KIND,
    outcome: ["started", "failed"],
  }),
  kernelyard_sandbox_start_seconds_total: counter("Time that making them took, together.", {
    kind: KIND,
    outcome: ["started", "failed"],
  }),
  kernelyard_sandbox_ends_total: counter("Sandboxes that are no more.", {
    kind: KIND,
    reason: SandboxEnd.shape.reason.options,
  }),
  kernelyard_sandboxes_unowned: gauge(
    "Sandboxes that no session and no pool answers for; new ones for a moment.",
    {},
  ),
  kernelyard_sandboxes_doomed: gauge("Sandboxes that are to go and are not gone.", {}),
  kernelyard_orphans_total: counter("Leftovers without an owner that the launcher's sweep found.", {
    what: ["containers", "devices"],
  }),
  kernelyard_loop_devices: gauge("Loop devices in front of session volumes.", {}),
  kernelyard_session_volumes: gauge("Session volumes on the disk.", {}),
  kernelyard_session_volume_bytes: gauge("What session volumes take of the disk.", {}),
  kernelyard_session_volumes_ok: gauge("1: sessions can have their volumes; 0: not at present.", {}),
  kernelyard_session_disk_quota: gauge("1: session volumes have a hard size; 0: they have none.", {}),

  kernelyard_disk_total_bytes: gauge("Size of the disk with the session volumes.", {}),
  kernelyard_disk_free_bytes: gauge("Free space on it.", {}),
  kernelyard_disk_reserve_bytes: gauge("Free space on it that is kept.", {}),
  kernelyard_session_disk_bytes: gauge(
    "What must be free beside that before a session begins: its volume may take it; 0: volumes have no hard size.",
    {},
  ),
  kernelyard_disk_promised: gauge(
    "1: the last session that wanted to be awake found the disk's free space promised to others; 0: it did not.",
    {},
  ),
  kernelyard_files_stored: gauge("Files in a store on the disk.", {}),
  kernelyard_files_bytes: gauge("Their bytes.", {}),
  kernelyard_files_limit_bytes: gauge("Bytes that they may have together; absent without a limit.", {}),

  kernelyard_fleet_member: gauge(
    "1: this host takes part in its fleet; 0: not at present. Absent where it is alone.",
    {},
  ),
  kernelyard_fleet_hosts: gauge(
    "Hosts of the fleet whose lease is alive; absent where this one is alone.",
    {},
  ),
  kernelyard_fleet_forwards_total: counter("Calls that were forwarded to another host.", {
    outcome: FORWARDS,
  }),
  kernelyard_fleet_waits_total: counter("Times that a call had to wait for its session to have a host.", {
    reason: WAITS,
  }),
  kernelyard_fleet_sessions_total: counter("Sessions that came from other hosts, or have another one now.", {
    outcome: TRAVELS,
  }),
  kernelyard_fleet_workspaces_total: counter(
    "Times that a session's files were saved for other hosts, or came from one.",
    {
      outcome: SAVES,
    },
  ),

  kernelyard_audit_lost_total: counter("Entries that the audit log could not keep.", {}),
  kernelyard_audit_copy_age_seconds: gauge(
    "Since the audit log's bucket had all that there was; absent without one.",
    {},
  ),
  kernelyard_audit_copies_total: counter(
    "Files of the audit log that were put into its bucket, and times that it did not take them.",
    { outcome: ["put", "failed"] },
  ),

  kernelyard_launcher_up: gauge("1: the launcher answers.", {}),
  kernelyard_engine_up: gauge("1: the container engine answers the launcher.", {}),
  kernelyard_engine_calls_total: counter("Round trips between launcher and container engine.", {
    operation: "the launcher's vocabulary, such as `create_container`",
    outcome: EngineOutcome.options,
  }),
  kernelyard_engine_call_seconds_total: counter("Time that they took, together.", {
    operation: "as above",
    outcome: EngineOutcome.options,
  }),

  kernelyard_open_descriptors: gauge("Open file descriptors.", { process: PROCESS }),
  kernelyard_max_descriptors: gauge("Descriptors that may be open.", { process: PROCESS }),
  kernelyard_resident_bytes: gauge("Resident memory.", { process: PROCESS }),
  kernelyard_cpu_seconds_total: counter("Processor time, user and system.", { process: PROCESS }),
  kernelyard_start_time_seconds: gauge("Unix time of the process's start.", { process: PROCESS }),
  kernelyard_event_loop_delay_seconds: gauge(
    "99th percentile of the gateway's event loop delay since the last scrape.",
    {},
  ),
  kernelyard_time_seconds: gauge("The host's clock, as Unix time.", {}),
  kernelyard_info: gauge("Always 1: what runs.", {
    isolation: ["runsc", "runc-unsafe"],
    runtime: "version of the sandbox's runtime",
    engine: "version of the container engine",
    image: "digest of the sandbox image",
  }),
} as const satisfies Record<string, MetricSpec>;

export type MetricName = keyof typeof METRICS;
type Table = typeof METRICS;
export type NameOf<Kind extends MetricSpec["kind"]> = {
  [Name in MetricName]: Table[Name]["kind"] extends Kind ? Name : never;
}[MetricName];

type LabelsOfSpec<Labels> = {
  readonly [Label in keyof Labels]: Labels[Label] extends readonly (infer Value)[] ? Value : string;
};
export type LabelsOf<Name extends MetricName> = Extract<
  LabelsOfSpec<Table[Name]["labels"]>,
  Readonly<Record<string, string>>
>;
