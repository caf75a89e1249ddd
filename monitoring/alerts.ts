/**
 * Every alert, each said once: when it fires, what that means and what to do. The Prometheus rules
 * (`kernelyard.rules.yaml`) and the runbooks (`docs/runbooks.md`, in Japanese `docs/ja/runbooks.md`) are made of it by `npm run generate`;
 * `promtool` checks each by its own example. A sentence that changes here is missed in `ja.ts` by the type checker.
 */

/** A command that only looks; a test runs it as it stands, on a running service. */
export interface Look {
  readonly command: string;
  /** What to look for in its output. */
  readonly shows: string;
}

/** Series as `promtool test rules` takes them, a value a minute for an hour. */
export type Series = Readonly<Record<string, string>>;

export interface Alert {
  readonly name: string;
  /** `page`: callers notice now. `ticket`: they will, or something is not as promised. */
  readonly severity: "page" | "ticket";
  readonly expr: string;
  readonly for: string;
  /** One sentence for whoever is woken. */
  readonly summary: string;
  readonly means: string;
  readonly look: readonly Look[];
  readonly act: readonly string[];
  readonly over: string;
  /** It fires within an hour of this, and does not of `quiet`. */
  readonly fires: Series;
  readonly quiet: Series;
  /** Its labels when it fires, where they are not those of the series. */
  readonly labels?: Readonly<Record<string, string>>;
}

const METRICS = "http://127.0.0.1:3113/metrics";
const metric = <const Shows extends string>(pattern: string, shows: Shows) => ({
  command: `curl -s ${METRICS} | grep '^${pattern}'`,
  shows,
});
const HEALTH = {
  command: "curl -s -H 'x-api-key: KEY' 'http://127.0.0.1:3112/health?detail'",
  shows: "`status`, `problem` and `warnings` say what is wrong in a sentence",
} as const satisfies Look;
const DOCTOR = { command: "npm run doctor", shows: "each finding has its remedy" } as const satisfies Look;
const CONTAINERS = {
  command: "docker ps -a --filter label=kernelyard.instance --format '{{.ID}} {{.State}} {{.RunningFor}}'",
  shows: "this host's sandboxes, and whether they run",
} as const satisfies Look;
const DISK = { command: "df -h /var/lib/kernelyard", shows: "how full the disk is" } as const satisfies Look;
const LARGEST = {
  command: "du -xh --max-depth=2 /var/lib/kernelyard | sort -h | tail -n 10",
  shows: "what takes the space: `volumes` are sessions, `gateway` is stored files",
} as const satisfies Look;

const host = (name: string, labels = "") =>
  `${name}{instance="host:3113",job="kernelyard"${labels === "" ? "" : `,${labels}`}}`;
const BY_HOST = { instance: "host:3113" };

const TABLE = [
  {
    name: "KernelyardDown",
    severity: "page",
    expr: 'up{job="kernelyard"} == 0',
    for: "2m",
    summary: "The gateway does not answer Prometheus.",
    means:
      "The gateway's process is gone, hangs, or cannot be reached. Callers most likely get nothing either.",
    look: [
      {
        command: `curl -s -o /dev/null -w '%{http_code}' ${METRICS}`,
        shows: "`200` on the host itself: then the network is at fault",
      },
      {
        command: "curl -s http://127.0.0.1:3112/health",
        shows: "`OK`: callers are served, and only the metrics are away",
      },
    ],
    act: [
      "Nothing answers: read the end of the gateway's log. A setting that cannot be used is named there; correct it and start again.",
      "Only the metrics are away: the log says which port was taken; change `KERNELYARD_METRICS_PORT`.",
      "Sandboxes and their variables outlive a gateway: starting it again loses none.",
    ],
    over: "`up` is 1 again.",
    fires: { [host("up")]: "0x60" },
    quiet: { [host("up")]: "1x60" },
  },
  {
    name: "KernelyardFleetAway",
    severity: "page",
    expr: "kernelyard_fleet_member == 0",
    for: "1m",
    summary: "This host takes no part in its fleet: calls of sessions are refused.",
    means:
      "The fleet's engine (`KERNELYARD_FLEET_URL`) does not answer this host, or another machine has this host's id. Calls of sessions get 503 `fleet_unavailable`; files and calls without a session are served. If all hosts say so, the engine is away.",
    look: [
      {
        ...HEALTH,
        shows: "`fleet`: its `problem`, and the hosts that there were when the engine last answered",
      },
    ],
    act: [
      "All hosts: bring the engine back. What it lost is told to it again by the hosts; sessions go on where they are.",
      "One host: its way to the engine is broken (address, password, certificate, firewall); the gateway's log has the reason.",
      "`another machine … has this host's id`: the disk of one of them is a copy. Remove `fleet-host` from the `gateway` folder of its data directory, and start it again.",
    ],
    over: "`kernelyard_fleet_member` is 1 again.",
    fires: { [host("kernelyard_fleet_member")]: "0x60" },
    quiet: { [host("kernelyard_fleet_member")]: "1x60" },
  },
  {
    name: "KernelyardRestarts",
    severity: "ticket",
    expr: "changes(kernelyard_start_time_seconds[30m]) > 2",
    for: "0m",
    summary: "A process of the service starts again and again.",
    means: "Gateway or launcher (label `process`) ends by itself. Every end breaks off the calls that run.",
    look: [metric("kernelyard_resident_bytes", "whether it grows towards the limit of its container")],
    act: [
      "Read what the process said last in its log before each start.",
      "Ended by the kernel for memory: raise `KERNELYARD_GATEWAY_MEMORY`.",
    ],
    over: "It has run for half an hour.",
    fires: { [host("kernelyard_start_time_seconds", 'process="gateway"')]: "100+60x60" },
    quiet: { [host("kernelyard_start_time_seconds", 'process="gateway"')]: "100x60" },
    labels: { instance: "host:3113", job: "kernelyard", process: "gateway" },
  },
  {
    name: "KernelyardNotExecuting",
    severity: "page",
    expr: "kernelyard_canary_ok == 0 or kernelyard_canary_age_seconds > 600",
    for: "3m",
    summary: "The host does not execute code.",
    means:
      "The service's own check, a line of Python in a real sandbox, fails or has not succeeded for ten minutes. Calls fail likewise; a load balancer has taken the host out.",
    look: [HEALTH, metric("kernelyard_[a-z]*_up", "0: that part is away; see its own alert"), DOCTOR],
    act: [
      "Another alert of this host names the part: follow that one first.",
      "Sandboxes do not start: the launcher's log has the engine's words. `npm run doctor` tries each step of it.",
      "After an upgrade of engine, gVisor or kernel: go back to the one before.",
    ],
    over: "`kernelyard_canary_ok` is 1 and the age stays below a minute and a half.",
    fires: { [host("kernelyard_canary_ok")]: "0x60", [host("kernelyard_canary_age_seconds")]: "0+60x60" },
    quiet: { [host("kernelyard_canary_ok")]: "1x60", [host("kernelyard_canary_age_seconds")]: "30x60" },
  },
  {
    name: "KernelyardLauncherAway",
    severity: "page",
    expr: "kernelyard_launcher_up == 0",
    for: "1m",
    summary: "The launcher does not answer the gateway.",
    means: "No sandbox can be made or attached to. Calls are refused with `launcher_unavailable`.",
    look: [
      {
        command: "ls -l /var/lib/kernelyard/run/launcher.sock",
        shows: "a socket of the group `kernelyard`, mode `srw-rw----`",
      },
      metric("kernelyard_launcher_up", "0 while it is away"),
    ],
    act: [
      "Read the end of the launcher's log: it says why it stopped, such as a host that does not isolate.",
      "Start it again. It finds its containers by their labels; variables are kept.",
    ],
    over: "`kernelyard_launcher_up` is 1.",
    fires: { [host("kernelyard_launcher_up")]: "0x60" },
    quiet: { [host("kernelyard_launcher_up")]: "1x60" },
  },
  {
    name: "KernelyardEngineAway",
    severity: "page",
    expr: "kernelyard_engine_up == 0 and kernelyard_launcher_up == 1",
    for: "1m",
    summary: "The container engine does not answer the launcher.",
    means: "Sessions that run go on; nothing new starts. Calls that need a sandbox get `engine_unavailable`.",
    look: [
      {
        command: "docker info --format '{{.ServerVersion}} {{.Runtimes}}'",
        shows: "a version, and `runsc` among the runtimes",
      },
      metric("kernelyard_engine_calls_total", 'which round trips end as `outcome="away"`'),
    ],
    act: [
      "Start the engine, or restart it when it hangs. The launcher connects again by itself within 5 s.",
      "It starts and ends again: its own log names the disk or the configuration.",
    ],
    over: "`kernelyard_engine_up` is 1.",
    fires: { [host("kernelyard_engine_up")]: "0x60", [host("kernelyard_launcher_up")]: "1x60" },
    quiet: { [host("kernelyard_engine_up")]: "0x60", [host("kernelyard_launcher_up")]: "0x60" },
  },
  {
    name: "KernelyardEngineSlow",
    severity: "ticket",
    expr: "sum by (instance) (rate(kernelyard_engine_call_seconds_total[10m])) / sum by (instance) (rate(kernelyard_engine_calls_total[10m])) > 2",
    for: "10m",
    summary: "The container engine answers slowly.",
    means:
      "A round trip takes more than 2 s on average; after 20 s the launcher gives up. Usually the disk, or too many containers of others.",
    look: [
      metric("kernelyard_engine_call_seconds_total", "which operation takes the time"),
      CONTAINERS,
      DISK,
    ],
    act: [
      "Look for other users of the engine or the disk on this host and move them.",
      "Restart the engine when it alone is slow: sessions lose their variables then, not their files.",
    ],
    over: "The average is below 2 s.",
    fires: {
      [host("kernelyard_engine_call_seconds_total", 'operation="create_container",outcome="ok"')]: "0+30x60",
      [host("kernelyard_engine_calls_total", 'operation="create_container",outcome="ok"')]: "0+10x60",
    },
    quiet: {
      [host("kernelyard_engine_call_seconds_total", 'operation="create_container",outcome="ok"')]: "0+2x60",
      [host("kernelyard_engine_calls_total", 'operation="create_container",outcome="ok"')]: "0+10x60",
    },
    labels: BY_HOST,
  },
  {
    name: "KernelyardErrors",
    severity: "page",
    expr: 'sum by (instance) (rate(http_requests_total{status=~"5..",path!="/health"}[5m])) / sum by (instance) (rate(http_requests_total{path!="/health"}[5m])) > 0.02',
    for: "5m",
    summary: "More than 2 % of requests end in an error of the service.",
    means: "What user code does is never a 5xx: these are the service's own failures.",
    look: [metric("http_requests_total", "which path and status grow"), HEALTH],
    act: [
      "503: the log's lines `request` have `error`: `sandbox_failed`, `engine_unavailable`, `launcher_unavailable` lead to the alerts of those parts.",
      "507: the disk; see KernelyardDiskFull.",
      "500: the log's line `unexpected error` has the place; report it.",
    ],
    over: "The share is below 2 % for five minutes.",
    fires: {
      [host("http_requests_total", 'method="POST",path="/exec",status="503"')]: "0+5x60",
      [host("http_requests_total", 'method="POST",path="/exec",status="200"')]: "0+95x60",
    },
    quiet: {
      [host("http_requests_total", 'method="POST",path="/exec",status="503"')]: "0+1x60",
      [host("http_requests_total", 'method="POST",path="/exec",status="200"')]: "0+99x60",
    },
    labels: BY_HOST,
  },
  {
    name: "KernelyardCredentialsRefused",
    severity: "ticket",
    expr: 'sum by (instance) (rate(http_requests_total{status=~"401|403"}[10m])) / sum by (instance) (rate(http_requests_total{path!="/health"}[10m])) > 0.2',
    for: "10m",
    summary: "A fifth of requests carries credentials that are refused.",
    means:
      "LibreChat's key or token pair does not match this service's, a clock is wrong, or somebody tries keys.",
    look: [
      metric('http_requests_total.*status="40[13]"', "which paths are refused; none at all is well"),
      { command: "date -u", shows: "the host's clock; compare it with LibreChat's" },
    ],
    act: [
      "The log's line of such a request has `why`. `kid` or signature: LibreChat signs with another key than the gateway verifies with.",
      "Too early or expired: correct the clock that is wrong.",
      "Unknown addresses: close the way to the port for them.",
    ],
    over: "The share is below a fifth.",
    fires: {
      [host("http_requests_total", 'method="POST",path="/exec",status="401"')]: "0+30x60",
      [host("http_requests_total", 'method="POST",path="/exec",status="200"')]: "0+70x60",
    },
    quiet: {
      [host("http_requests_total", 'method="POST",path="/exec",status="401"')]: "0+5x60",
      [host("http_requests_total", 'method="POST",path="/exec",status="200"')]: "0+95x60",
    },
    labels: BY_HOST,
  },
  {
    name: "KernelyardHostFull",
    severity: "page",
    expr: 'sum by (instance) (increase(kernelyard_executions_total{outcome="host_full"}[5m])) > 0',
    for: "5m",
    summary: "Calls are refused because every place of the host is taken.",
    means:
      "A call runs in each sandbox that fits into the memory budget, and callers get 429 after 15 s of waiting.",
    look: [
      metric("kernelyard_places", "`busy` against `capacity`"),
      metric("kernelyard_memory", "the budget, and what is promised of it"),
      { command: "free -m", shows: "memory that the host has left" },
      metric("kernelyard_disk_promised", "1: it is the disk, not memory, that has no place left"),
    ],
    act: [
      "It is the disk: each session that is awake is promised `KERNELYARD_SESSION_DISK` whole. Free space, a larger disk, or less for each.",
      "Memory is left on the host: raise `KERNELYARD_MEMORY_BUDGET`.",
      "None is left: a larger host, or a smaller `KERNELYARD_MEMORY` per sandbox.",
      "Long calls take the places: lower `KERNELYARD_TIMEOUT_MAX_MS`.",
    ],
    over: "No call was refused for five minutes.",
    fires: { [host("kernelyard_executions_total", 'language="py",outcome="host_full"')]: "0+1x60" },
    quiet: { [host("kernelyard_executions_total", 'language="py",outcome="host_full"')]: "7x60" },
    labels: BY_HOST,
  },
  {
    name: "KernelyardSessionsGiveWay",
    severity: "ticket",
    expr: 'sum by (instance) (increase(kernelyard_kernel_losses_total{reason="gave_way"}[1h])) > 20',
    for: "0m",
    summary: "Idle sessions lose their variables because the host is too small.",
    means:
      "More sessions are in use within `KERNELYARD_IDLE_MS` than fit, and none of those idle longest could sleep. They are ended; files are kept, variables are not.",
    look: [
      metric("kernelyard_sessions_live", "sessions with a kernel"),
      metric("kernelyard_kernel_losses_total", "why variables were lost"),
      metric("kernelyard_checkpoints_on", "0: sessions do not sleep"),
      metric("kernelyard_disk_promised", "1: it is the disk, not memory, that has no place left"),
    ],
    act: [
      "It is the disk: each session that is awake is promised `KERNELYARD_SESSION_DISK` whole. Free space, a larger disk, or less for each.",
      "Where sessions do not sleep, mend what `checkpoints` of `/health?detail` names: then they give way without a loss.",
      "Raise `KERNELYARD_MEMORY_BUDGET` or take a larger host.",
      "Lower `KERNELYARD_IDLE_MS`, so that those who left make room before others must.",
    ],
    over: "Fewer than 20 in an hour.",
    fires: { [host("kernelyard_kernel_losses_total", 'reason="gave_way"')]: "0+1x60" },
    quiet: {
      [host("kernelyard_kernel_losses_total", 'reason="gave_way"')]: "0+0.1x60",
      [host("kernelyard_kernel_losses_total", 'reason="idle"')]: "0+9x60",
    },
    labels: BY_HOST,
  },
  {
    name: "KernelyardKernelsLost",
    severity: "ticket",
    expr: 'sum by (instance) (increase(kernelyard_kernel_losses_total{reason=~"ended|protocol|sandbox_ended|disk_failed"}[30m])) > 5',
    for: "0m",
    summary: "Sessions lose their sandboxes for no reason of the service's own.",
    means:
      "Sandboxes end by themselves: user code ends its own supervisor, containers are removed from outside, or the image is broken.",
    look: [metric("kernelyard_sandbox_ends_total", "how sandboxes ended"), CONTAINERS],
    act: [
      "`engine_lost`: somebody removes containers (`docker prune` in a timer), or the engine restarts.",
      "`disk_failed`: something else than the sessions has filled the disk; make room, and keep it off the disk of the data directory.",
      "`protocol_error`: the launcher's log names the sandbox; it is hostile code or a broken image. `npm run doctor` tries the image.",
      "`exited`: one user's code does this; the log's lines `sandbox ended` and `request` share the time.",
    ],
    over: "Fewer than five in half an hour.",
    fires: { [host("kernelyard_kernel_losses_total", 'reason="ended"')]: "0+1x60" },
    quiet: { [host("kernelyard_kernel_losses_total", 'reason="idle"')]: "0+5x60" },
    labels: BY_HOST,
  },
  {
    name: "KernelyardSessionsWait",
    severity: "ticket",
    expr: "histogram_quantile(0.9, sum by (instance, le) (rate(kernelyard_queue_wait_seconds_bucket[15m]))) > 10",
    for: "15m",
    summary: "One call in ten waits more than 10 s for its own session.",
    means:
      "Parallel chats share a session (LibreChat's workspace of scope `user`), and long calls keep the others waiting.",
    look: [
      metric("kernelyard_queue_wait_seconds_bucket", "how long calls waited"),
      metric("kernelyard_calls_waiting", "how many wait now"),
    ],
    act: [
      "Set `KERNELYARD_BUSY_INTERRUPT_MS`, so that a call gives way to the next one of its session.",
      "In LibreChat, narrow the workspace's scope to `conversation`.",
    ],
    over: "Nine in ten calls wait less than 10 s.",
    fires: {
      [host("kernelyard_queue_wait_seconds_bucket", 'le="1"')]: "0+5x60",
      [host("kernelyard_queue_wait_seconds_bucket", 'le="30"')]: "0+10x60",
      [host("kernelyard_queue_wait_seconds_bucket", 'le="+Inf"')]: "0+10x60",
    },
    quiet: {
      [host("kernelyard_queue_wait_seconds_bucket", 'le="1"')]: "0+10x60",
      [host("kernelyard_queue_wait_seconds_bucket", 'le="30"')]: "0+10x60",
      [host("kernelyard_queue_wait_seconds_bucket", 'le="+Inf"')]: "0+10x60",
    },
    labels: BY_HOST,
  },
  {
    name: "KernelyardCallersLimited",
    severity: "ticket",
    expr: 'sum by (instance) (increase(http_requests_total{status="429"}[10m])) > 20',
    for: "10m",
    summary: "Callers run into limits.",
    means:
      "Requests get 429: one caller asks more often than `KERNELYARD_RATE_LIMITS` allows, runs more calls than one may, or the host is full.",
    look: [
      metric("http_requests_total", "which paths get 429"),
      metric("kernelyard_executions_total", "`host_full` and `caller_full`"),
    ],
    act: [
      "`host_full` grows: see KernelyardHostFull.",
      "The log's lines have the tenant: tell whoever runs away, or give that tenant a key of its own.",
    ],
    over: "Fewer than 20 in ten minutes.",
    fires: { [host("http_requests_total", 'method="POST",path="/exec",status="429"')]: "0+5x60" },
    quiet: { [host("http_requests_total", 'method="POST",path="/exec",status="429"')]: "0+1x60" },
    labels: BY_HOST,
  },
  {
    name: "KernelyardStartsFail",
    severity: "page",
    expr: 'sum by (instance) (increase(kernelyard_sandbox_starts_total{outcome="failed"}[10m])) > 3',
    for: "0m",
    summary: "Sandboxes do not start.",
    means: "The engine, gVisor, the image or the volumes fail. Calls in sessions that are there still work.",
    look: [metric("kernelyard_sandbox_starts_total", "`failed` against `started`"), HEALTH, DOCTOR],
    act: [
      "The launcher's log has `sandbox did not start` with the engine's reason.",
      "No space, no memory, no loop device: free what is named there.",
      "After an upgrade of the engine or of gVisor: go back to the one before.",
    ],
    over: "Starts succeed for ten minutes.",
    fires: { [host("kernelyard_sandbox_starts_total", 'kind="fresh",outcome="failed"')]: "0+1x60" },
    quiet: {
      [host("kernelyard_sandbox_starts_total", 'kind="fresh",outcome="failed"')]: "2x60",
      [host("kernelyard_sandbox_starts_total", 'kind="fresh",outcome="started"')]: "0+9x60",
    },
    labels: BY_HOST,
  },
  {
    name: "KernelyardStartsSlow",
    severity: "ticket",
    expr: 'sum by (instance) (rate(kernelyard_sandbox_start_seconds_total{outcome="started"}[15m])) / sum by (instance) (rate(kernelyard_sandbox_starts_total{outcome="started"}[15m])) > 5',
    for: "15m",
    summary: "A sandbox takes more than 5 s to start.",
    means: "It takes below half a second on an idle host. The processor or the disk is overloaded.",
    look: [
      { command: "uptime", shows: "the load; compare it with the number of processors" },
      metric("kernelyard_engine_call_seconds_total", "which step takes the time"),
    ],
    act: [
      "Lower `KERNELYARD_CPUS` per sandbox, or take more processors.",
      "A slow disk: put the engine's data root on a faster one.",
    ],
    over: "The average is below 5 s.",
    fires: {
      [host("kernelyard_sandbox_start_seconds_total", 'kind="fresh",outcome="started"')]: "0+60x60",
      [host("kernelyard_sandbox_starts_total", 'kind="fresh",outcome="started"')]: "0+6x60",
    },
    quiet: {
      [host("kernelyard_sandbox_start_seconds_total", 'kind="fresh",outcome="started"')]: "0+3x60",
      [host("kernelyard_sandbox_starts_total", 'kind="fresh",outcome="started"')]: "0+6x60",
    },
    labels: BY_HOST,
  },
  {
    name: "KernelyardPoolEmpty",
    severity: "ticket",
    expr: "kernelyard_pool_size > 0 and kernelyard_pool_ready == 0",
    for: "15m",
    summary: "No spare sandbox has been ready for a quarter of an hour.",
    means:
      "Every call without a session waits for a new sandbox. The pool is too small, or there is no room for it beside sessions.",
    look: [
      metric("kernelyard_pool", "`ready` against `size`"),
      metric("kernelyard_places", "whether places are left"),
    ],
    act: ["Places are left: raise `KERNELYARD_POOL_SIZE`.", "None are: see KernelyardHostFull."],
    over: "`kernelyard_pool_ready` is above 0.",
    fires: { [host("kernelyard_pool_size")]: "2x60", [host("kernelyard_pool_ready")]: "0x60" },
    quiet: { [host("kernelyard_pool_size")]: "0x60", [host("kernelyard_pool_ready")]: "0x60" },
  },
  {
    name: "KernelyardCheckpointsFail",
    severity: "ticket",
    expr: 'sum by (instance) (increase(kernelyard_checkpoint_starts_total{outcome="failed"}[1h])) > 2',
    for: "0m",
    summary: "Sandboxes do not start from their checkpoints.",
    means:
      "They start anew instead, which takes longer; sessions that were to wake have lost their variables and were told. After three failures in a row no checkpoint is used until the launcher starts again.",
    look: [
      metric("kernelyard_checkpoint_starts_total", "`failed` against `restored`"),
      metric("kernelyard_disk_free_bytes", "whether the disk is full"),
    ],
    act: [
      "The launcher's log says what gVisor answered; `/health?detail` says why checkpoints are off.",
      "Free the disk, or lower `KERNELYARD_SLEEP_DISK`.",
      "Restart the launcher: it makes its templates anew. Or set `KERNELYARD_CHECKPOINTS=off`.",
    ],
    over: "None fails for an hour.",
    fires: { [host("kernelyard_checkpoint_starts_total", 'outcome="failed"')]: "0+1x60" },
    quiet: { [host("kernelyard_checkpoint_starts_total", 'outcome="failed"')]: "2x60" },
    labels: BY_HOST,
  },
  {
    name: "KernelyardLeftovers",
    severity: "ticket",
    expr: "kernelyard_sandboxes_unowned > 0 or kernelyard_sandboxes_doomed > 0",
    for: "10m",
    summary: "Sandboxes are there that nobody uses and nothing removes.",
    means:
      "They take memory from others. The engine refuses to remove them, or the gateway has lost sight of them.",
    look: [
      CONTAINERS,
      metric("kernelyard_sandboxes", "`unowned`: nobody answers for them; `doomed`: they are not removed"),
    ],
    act: [
      "`doomed`: the launcher's log says what the engine answers; restart the engine when it hangs.",
      "`unowned`: start the gateway again; what it does not adopt it removes.",
    ],
    over: "Both are 0.",
    fires: { [host("kernelyard_sandboxes_unowned")]: "1x60", [host("kernelyard_sandboxes_doomed")]: "0x60" },
    quiet: {
      [host("kernelyard_sandboxes_unowned")]: "0 1 0 1 0x60",
      [host("kernelyard_sandboxes_doomed")]: "0x60",
    },
  },
  {
    name: "KernelyardOrphans",
    severity: "ticket",
    expr: "sum by (instance) (increase(kernelyard_orphans_total[1h])) > 10",
    for: "0m",
    summary: "The sweep keeps finding leftovers without an owner.",
    means: "They are removed; but something ends launchers or containers half-way, again and again.",
    look: [
      metric("kernelyard_orphans_total", "containers or loop devices"),
      metric("kernelyard_start_time_seconds", "whether the launcher has just started"),
    ],
    act: ["See whether a process is killed (`KernelyardRestarts`) or two launchers share a data directory."],
    over: "Fewer than ten in an hour.",
    fires: { [host("kernelyard_orphans_total", 'what="containers"')]: "0+1x60" },
    quiet: { [host("kernelyard_orphans_total", 'what="containers"')]: "3x60" },
    labels: BY_HOST,
  },
  {
    name: "KernelyardLoopDevicesLeak",
    severity: "ticket",
    expr: "kernelyard_loop_devices - on (instance) kernelyard_sessions_live > 5",
    for: "15m",
    summary: "More loop devices are attached than sessions have volumes.",
    means: "Devices are not freed at their volumes' last unmount. When they run out, sessions cannot start.",
    look: [
      {
        command: "losetup --list --output NAME,AUTOCLEAR,BACK-FILE",
        shows:
          "devices in front of `/var/lib/kernelyard/volumes`, and whether the kernel frees them (`AUTOCLEAR` 1)",
      },
      CONTAINERS,
    ],
    act: [
      "A device whose volume no container uses: something else has it mounted (`findmnt -S DEVICE`); unmount it there.",
      "Start the launcher again: its sweep frees devices that nobody owns.",
    ],
    over: "No more than five devices above the sessions with a kernel.",
    fires: { [host("kernelyard_loop_devices")]: "9x60", [host("kernelyard_sessions_live")]: "2x60" },
    quiet: { [host("kernelyard_loop_devices")]: "9x60", [host("kernelyard_sessions_live")]: "9x60" },
    labels: BY_HOST,
  },
  {
    name: "KernelyardDescriptors",
    severity: "ticket",
    expr: "kernelyard_open_descriptors / kernelyard_max_descriptors > 0.7",
    for: "10m",
    summary: "A process has used most of its file descriptors.",
    means:
      "At the limit every call fails while the process still answers. They leak, or the limit is too low for so many sessions.",
    look: [
      metric("kernelyard_open_descriptors", "which process"),
      metric("kernelyard_requests_in_flight", "whether requests explain it"),
    ],
    act: [
      "It grows without load: start the process again (variables are kept) and report it with the log.",
      "It follows the load: raise the service's limit of open files.",
    ],
    over: "Below 70 %.",
    fires: {
      [host("kernelyard_open_descriptors", 'process="gateway"')]: "900x60",
      [host("kernelyard_max_descriptors", 'process="gateway"')]: "1024x60",
    },
    quiet: {
      [host("kernelyard_open_descriptors", 'process="gateway"')]: "90x60",
      [host("kernelyard_max_descriptors", 'process="gateway"')]: "1024x60",
    },
    labels: { instance: "host:3113", job: "kernelyard", process: "gateway" },
  },
  {
    name: "KernelyardDiskFull",
    severity: "page",
    expr: "kernelyard_disk_free_bytes <= kernelyard_disk_reserve_bytes + kernelyard_session_disk_bytes",
    for: "1m",
    summary: "The disk has no room for another session beside its reserve: none begins.",
    means:
      "A session begins only where its whole volume (`KERNELYARD_SESSION_DISK`) fits beside the reserve (`KERNELYARD_DISK_RESERVE`): its calls are refused with `storage_full` (507). Where only the reserve is free, uploads and outputs are, too.",
    look: [DISK, LARGEST],
    act: [
      "Something else fills the disk: remove that.",
      "Session volumes: lower `KERNELYARD_SESSION_VOLUME_TTL_MS`; stored files: lower `KERNELYARD_FILE_TTL_MS`. The next sweep removes what is too old.",
      "Or enlarge the disk; nothing needs a restart.",
    ],
    over: "More is free than the reserve and one session's volume.",
    fires: {
      [host("kernelyard_disk_free_bytes")]: "12x60",
      [host("kernelyard_disk_reserve_bytes")]: "10x60",
      [host("kernelyard_session_disk_bytes")]: "2x60",
    },
    quiet: {
      [host("kernelyard_disk_free_bytes")]: "13x60",
      [host("kernelyard_disk_reserve_bytes")]: "10x60",
      [host("kernelyard_session_disk_bytes")]: "2x60",
    },
  },
  {
    name: "KernelyardDiskFilling",
    severity: "ticket",
    expr: "predict_linear(kernelyard_disk_free_bytes[30m], 24 * 3600) < kernelyard_disk_reserve_bytes + kernelyard_session_disk_bytes",
    for: "30m",
    summary: "At the present pace the disk is full within a day.",
    means: "Then no session begins; see KernelyardDiskFull.",
    look: [DISK, LARGEST, metric("kernelyard_session_volume_bytes", "what sessions take")],
    act: ["As for KernelyardDiskFull, with time to choose."],
    over: "The forecast is above the reserve and one session's volume.",
    fires: {
      [host("kernelyard_disk_free_bytes")]: "100000-100x60",
      [host("kernelyard_disk_reserve_bytes")]: "10x60",
      [host("kernelyard_session_disk_bytes")]: "2x60",
    },
    quiet: {
      [host("kernelyard_disk_free_bytes")]: "100000x60",
      [host("kernelyard_disk_reserve_bytes")]: "10x60",
      [host("kernelyard_session_disk_bytes")]: "2x60",
    },
  },
  {
    name: "KernelyardFilesNearLimit",
    severity: "ticket",
    expr: "kernelyard_files_bytes / kernelyard_files_limit_bytes > 0.9",
    for: "10m",
    summary: "Stored files have used nine tenths of their limit.",
    means: "At the limit uploads and outputs are refused with `storage_full` (507).",
    look: [metric("kernelyard_files", "bytes against the limit"), DISK],
    act: [
      "Raise `KERNELYARD_FILES_TOTAL` where the disk has room.",
      "Lower `KERNELYARD_FILE_TTL_MS`; LibreChat needs 24 hours.",
    ],
    over: "Below nine tenths.",
    fires: { [host("kernelyard_files_bytes")]: "95x60", [host("kernelyard_files_limit_bytes")]: "100x60" },
    quiet: { [host("kernelyard_files_bytes")]: "50x60", [host("kernelyard_files_limit_bytes")]: "100x60" },
  },
  {
    name: "KernelyardVolumesBroken",
    severity: "page",
    expr: "kernelyard_session_volumes_ok == 0",
    for: "2m",
    summary: "Sessions cannot have their volumes.",
    means: "Calls in a session that has no sandbox yet fail; calls without a session work.",
    look: [HEALTH, { command: "ls -l /dev/loop-control", shows: "that the host has loop devices" }, DISK],
    act: [
      "The launcher's log has the reason. It tries again with each session, every 5 s at most.",
      "`loop-control` is missing: load the kernel's module (`modprobe loop`).",
    ],
    over: "`kernelyard_session_volumes_ok` is 1.",
    fires: { [host("kernelyard_session_volumes_ok")]: "0x60" },
    quiet: { [host("kernelyard_session_volumes_ok")]: "1x60" },
  },
  {
    name: "KernelyardNoDiskQuota",
    severity: "ticket",
    expr: "kernelyard_session_disk_quota == 0",
    for: "10m",
    summary: "Session volumes have no hard size on this host.",
    means: "One session can fill the disk. The host had no loop devices when its data directory was made.",
    look: [{ command: "ls -l /dev/loop-control", shows: "whether the host has loop devices now" }, DOCTOR],
    act: [
      "Give the host loop devices and start with a new data directory; the present one keeps its decision, so that no session begins with an empty volume.",
    ],
    over: "`kernelyard_session_disk_quota` is 1.",
    fires: { [host("kernelyard_session_disk_quota")]: "0x60" },
    quiet: { [host("kernelyard_session_disk_quota")]: "1x60" },
  },
  {
    name: "KernelyardUnsafe",
    severity: "ticket",
    expr: 'kernelyard_info{isolation="runc-unsafe"} == 1',
    for: "0m",
    summary: "Code shares the host's kernel.",
    means: "`KERNELYARD_ISOLATION=runc-unsafe` is set: right for trusted code alone.",
    look: [metric("kernelyard_info", "the isolation and the image that run"), DOCTOR],
    act: ["Remove the setting and start again: the gateway then insists on gVisor."],
    over: '`isolation="runsc"`.',
    fires: { [host("kernelyard_info", 'isolation="runc-unsafe"')]: "1x60" },
    quiet: { [host("kernelyard_info", 'isolation="runsc"')]: "1x60" },
    labels: { instance: "host:3113", job: "kernelyard", isolation: "runc-unsafe" },
  },
  {
    name: "KernelyardAuditLost",
    severity: "ticket",
    expr: "increase(kernelyard_audit_lost_total[15m]) > 0",
    for: "0m",
    summary: "The audit log has lost entries.",
    means: "They could not be written: the disk is full or broken. Calls are served all the same.",
    look: [
      DISK,
      {
        command: "ls -l /var/lib/kernelyard/gateway/audit",
        shows: "files of today, of the user `kernelyard`",
      },
    ],
    act: [
      "Free space on the disk; see KernelyardDiskFull.",
      "The gateway's log says under `audit log` what the disk answers.",
    ],
    over: "No entry was lost for a quarter of an hour.",
    fires: { [host("kernelyard_audit_lost_total")]: "0+1x60" },
    quiet: { [host("kernelyard_audit_lost_total")]: "5x60" },
  },
  {
    name: "KernelyardAuditCopyBehind",
    severity: "ticket",
    expr: "kernelyard_audit_copy_age_seconds > 1800",
    for: "0m",
    summary: "The audit log's bucket has been behind for half an hour.",
    means:
      "The bucket (`KERNELYARD_AUDIT_S3_BUCKET`) does not take the audit log. Entries are kept on the disk and copied later, unless the host is lost or they are removed there first (`KERNELYARD_AUDIT_BYTES`). Calls are served all the same.",
    look: [
      metric("kernelyard_audit_cop", '`outcome="failed"` grows with each attempt'),
      { command: "date -u", shows: "the host's clock; stores refuse one that is a quarter of an hour off" },
    ],
    act: [
      "The gateway's log says under `the audit log is not copied` what the store answers: name, region or endpoint, credentials, permissions.",
      "It is tried again by itself, every ten minutes at the longest; nothing has to be started anew, unless a setting changes.",
      "Erasures that did not reach the bucket meanwhile said so: ask for them again.",
    ],
    over: "`kernelyard_audit_copy_age_seconds` stays below five minutes.",
    fires: { [host("kernelyard_audit_copy_age_seconds")]: "0+60x60" },
    quiet: { [host("kernelyard_audit_copy_age_seconds")]: "90x60" },
  },
  {
    name: "KernelyardClockWrong",
    severity: "page",
    expr: "abs(kernelyard_time_seconds - timestamp(kernelyard_time_seconds)) > 30",
    for: "5m",
    summary: "The host's clock differs from Prometheus' by more than 30 s.",
    means:
      "LibreChat's tokens live for minutes: with a wrong clock every one is refused as too early or expired.",
    look: [
      { command: "date -u", shows: "the host's clock" },
      metric("kernelyard_time_seconds", "the clock as the gateway sees it"),
    ],
    act: [
      "Start the host's time service again and let it step the clock.",
      "Make sure that it is this host's clock and not Prometheus'.",
    ],
    over: "They differ by less than 30 s.",
    fires: { [host("kernelyard_time_seconds")]: "100+60x60" },
    quiet: { [host("kernelyard_time_seconds")]: "0+60x60" },
  },
  {
    name: "KernelyardGatewayStalls",
    severity: "ticket",
    expr: "kernelyard_event_loop_delay_seconds > 0.25",
    for: "10m",
    summary: "The gateway is too busy to answer in time.",
    means:
      "Its event loop stands still for a quarter of a second: every caller waits that long for everything.",
    look: [
      { command: "uptime", shows: "the load; compare it with the number of processors" },
      metric("kernelyard_requests_in_flight", "how many requests are open"),
      metric("kernelyard_cpu_seconds_total", "which process takes the time"),
    ],
    act: [
      "Sandboxes take the processors: lower `KERNELYARD_CPUS`, or take more processors.",
      "The gateway alone is busy: report it with the log.",
    ],
    over: "The delay is below a quarter of a second.",
    fires: { [host("kernelyard_event_loop_delay_seconds")]: "0.5x60" },
    quiet: { [host("kernelyard_event_loop_delay_seconds")]: "0.02x60" },
  },
  {
    name: "KernelyardRequestMemory",
    severity: "ticket",
    // One key may hold three quarters: where LibreChat has the only one, there is never more.
    expr: "kernelyard_request_memory_bytes / kernelyard_request_memory_limit_bytes > 0.7",
    for: "5m",
    summary: "Requests have used the memory that is theirs.",
    means: "Further requests wait or are refused, so that the gateway does not run out of memory.",
    look: [
      metric("kernelyard_request_memory", "held against the limit"),
      metric("kernelyard_programs", "programs that wait for tools hold memory, too"),
    ],
    act: ["Raise `KERNELYARD_GATEWAY_MEMORY`."],
    over: "Below 70 %.",
    fires: {
      [host("kernelyard_request_memory_bytes")]: "75x60",
      [host("kernelyard_request_memory_limit_bytes")]: "100x60",
    },
    quiet: {
      [host("kernelyard_request_memory_bytes")]: "5x60",
      [host("kernelyard_request_memory_limit_bytes")]: "100x60",
    },
  },
] as const satisfies readonly Alert[];

export const ALERTS: readonly Alert[] = TABLE;

type Entry = (typeof TABLE)[number];
type Said =
  | Entry["summary"]
  | Entry["means"]
  | Entry["look"][number]["shows"]
  | Entry["act"][number]
  | Entry["over"];
/** Every sentence of the table, as a type: a translation has each. Nothing, should one not be known to the type checker. */
export type Sentence = string extends Said ? never : Said;
