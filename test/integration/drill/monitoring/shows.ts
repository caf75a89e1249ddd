/**
 * What the commands of each runbook have to show while its alert fires: that they ran is not enough. Of each one of the alert's own faults, as
 * this drill stages it.
 */
const metric = (name: string, value: string) => new RegExp(`^${name}(?:\\{[^}\\n]*\\})? (?:${value})$`, "m");
const ABOVE_0 = "[1-9][\\d.e+]*|0\\.\\d*[1-9][\\d]*";

export const SHOWS: Readonly<Record<string, readonly RegExp[]>> = {
  KernelyardDown: [/^000/m],
  KernelyardFleetAway: [/"fleet":\{"host":"[^"]+","problem":"[^"]+"/],
  KernelyardRestarts: [metric('kernelyard_resident_bytes\\{process="gateway"\\}', ABOVE_0)],
  KernelyardNotExecuting: [
    /"status":"unhealthy","problem":"[^"]+"/,
    metric("kernelyard_launcher_up", "0"),
    /the host's own/,
  ],
  KernelyardLauncherAway: [/launcher\.sock/, metric("kernelyard_launcher_up", "0")],
  KernelyardEngineAway: [
    /Cannot connect to the Docker daemon/,
    /^kernelyard_engine_calls_total\{[^}]*outcome="away"\} [1-9]/m,
  ],
  KernelyardEngineSlow: [/operation="start_container",outcome="ok"\} [1-9]/, /Filesystem/],
  KernelyardErrors: [/^http_requests_total\{[^}]*status="503"\} [1-9]/m, /"problem":"[^"]+"/],
  KernelyardCredentialsRefused: [/path="\/run",status="401"\} [1-9]/, /UTC/],
  KernelyardHostFull: [
    metric("kernelyard_places_busy", "[1-6]"),
    metric("kernelyard_places_capacity", "6"),
    metric("kernelyard_memory_budget_bytes", ABOVE_0),
    /Mem:/,
  ],
  KernelyardSessionsGiveWay: [
    metric('kernelyard_kernel_losses_total\\{reason="gave_way"\\}', "[2-9]\\d"),
    metric("kernelyard_checkpoints_on", "0"),
  ],
  KernelyardKernelsLost: [metric('kernelyard_sandbox_ends_total\\{[^}]*reason="exited"\\}', ABOVE_0)],
  KernelyardSessionsWait: [metric("kernelyard_calls_waiting", ABOVE_0), /le="10"/],
  KernelyardCallersLimited: [
    /status="429"\} [1-9]/,
    /^kernelyard_executions_total\{[^}]*outcome="(?:host|caller)_full"\} [1-9]/m,
  ],
  KernelyardStartsFail: [/outcome="failed"\} [1-9]/, /refused by the drill/],
  KernelyardStartsSlow: [/load average/, /operation="start_container",outcome="ok"\} [1-9]/],
  KernelyardPoolEmpty: [metric("kernelyard_pool_ready", "0"), metric("kernelyard_pool_size", "1")],
  KernelyardCheckpointsFail: [
    metric('kernelyard_checkpoint_starts_total\\{outcome="failed"\\}', "[2-9]\\d*|\\d\\d+"),
  ],
  KernelyardLeftovers: [metric("kernelyard_sandboxes_doomed", ABOVE_0)],
  KernelyardOrphans: [metric('kernelyard_orphans_total\\{what="containers"\\}', "1\\d|[2-9]\\d*")],
  KernelyardLoopDevicesLeak: [/^\/dev\/loop\d+\s+[01]\s.*\/volumes\/images\//m],
  KernelyardDescriptors: [metric('kernelyard_open_descriptors\\{process="gateway"\\}', ABOVE_0)],
  KernelyardDiskFull: [/tmpfs\s+1\.0G/, /\/volumes$/m],
  KernelyardDiskFilling: [/Filesystem/, metric("kernelyard_session_volume_bytes", ABOVE_0)],
  KernelyardFilesNearLimit: [
    metric("kernelyard_files_bytes", "7\\d+(?:\\.\\d+)?(?:e\\+06)?"),
    metric("kernelyard_files_limit_bytes", ABOVE_0),
  ],
  KernelyardVolumesBroken: [/Session volumes do not work at present/, /loop-control/],
  KernelyardNoDiskQuota: [/loop-control/, /no hard limit/],
  KernelyardUnsafe: [/isolation="runc-unsafe"/, /the host's own/],
  KernelyardAuditLost: [/audit-\d{4}-\d\d-\d\d\.\d+\.jsonl/],
  KernelyardAuditCopyBehind: [metric("kernelyard_audit_copies_total", ABOVE_0), /UTC/],
  KernelyardClockWrong: [/UTC/, metric("kernelyard_time_seconds", ABOVE_0)],
  KernelyardGatewayStalls: [/load average/, metric("kernelyard_requests_in_flight", "\\d+")],
  KernelyardRequestMemory: [metric("kernelyard_request_memory_bytes", ABOVE_0)],
};
