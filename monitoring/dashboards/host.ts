/** One host: what its parts use, and what leaks. */
import { type Dashboard, HOSTS } from "./build.ts";

export const HOST: Dashboard = {
  uid: "kernelyard-host",
  title: "Kernelyard: a host",
  about: "What gateway, launcher, engine and disk of a host do; choose one above.",
  rows: [
    {
      title: "Parts",
      panels: [
        {
          title: "What runs",
          about: "Isolation, runtime, engine and the digest of the sandbox image.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `kernelyard_info{${HOSTS}}`, legend: "{{isolation}} {{runtime}} {{image}}" }],
        },
        {
          title: "Launcher",
          about: "1 while it answers the gateway.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `min(kernelyard_launcher_up{${HOSTS}})`, legend: "" }],
          limits: [1, 0.5],
        },
        {
          title: "Engine",
          about: "1 while it answers the launcher.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `min(kernelyard_engine_up{${HOSTS}})`, legend: "" }],
          limits: [1, 0.5],
        },
        {
          title: "Session volumes",
          about: "1 while sessions can have theirs.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `min(kernelyard_session_volumes_ok{${HOSTS}})`, legend: "" }],
          limits: [1, 0.5],
        },
        {
          title: "Hard size of volumes",
          about: "0: one session can fill the disk.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `min(kernelyard_session_disk_quota{${HOSTS}})`, legend: "" }],
          limits: [1, 0.5],
        },
        {
          title: "Running since",
          about: "The process that was started last.",
          unit: "s",
          kind: "stat",
          queries: [{ expr: `time() - max(kernelyard_start_time_seconds{${HOSTS}})`, legend: "" }],
        },
      ],
    },
    {
      title: "Memory and processor",
      panels: [
        {
          title: "Memory that sandboxes may take",
          about: "Promised to those that are there, and the budget.",
          unit: "bytes",
          queries: [
            { expr: `kernelyard_memory_promised_bytes{${HOSTS}}`, legend: "{{instance}} promised" },
            { expr: `kernelyard_memory_budget_bytes{${HOSTS}}`, legend: "{{instance}} budget" },
          ],
        },
        {
          title: "Memory of the services",
          about: "Resident, and what requests hold of it.",
          unit: "bytes",
          queries: [
            { expr: `kernelyard_resident_bytes{${HOSTS}}`, legend: "{{process}}" },
            { expr: `kernelyard_request_memory_bytes{${HOSTS}}`, legend: "requests" },
            { expr: `kernelyard_request_memory_limit_bytes{${HOSTS}}`, legend: "requests, at most" },
          ],
        },
        {
          title: "Processor of the services",
          about: "Sandboxes are not in it.",
          unit: "percentunit",
          queries: [
            { expr: `rate(kernelyard_cpu_seconds_total{${HOSTS}}[$__rate_interval])`, legend: "{{process}}" },
          ],
        },
        {
          title: "Event loop of the gateway",
          about: "How long everybody waits for it; milliseconds are usual.",
          unit: "s",
          queries: [{ expr: `kernelyard_event_loop_delay_seconds{${HOSTS}}`, legend: "{{instance}}" }],
        },
        {
          title: "Open requests",
          about: "From their head to the last byte of the response.",
          unit: "short",
          queries: [{ expr: `kernelyard_requests_in_flight{${HOSTS}}`, legend: "{{instance}}" }],
        },
        {
          title: "The service's own check",
          about: "How long a line of Python takes in a fresh sandbox.",
          unit: "s",
          queries: [{ expr: `kernelyard_canary_duration_seconds{${HOSTS}}`, legend: "{{instance}}" }],
        },
      ],
    },
    {
      title: "Engine",
      panels: [
        {
          title: "Round trips",
          about: "Each with a connection of its own; `away` and `refused` ask for the launcher's log.",
          unit: "ops",
          kind: "stacked",
          queries: [
            {
              expr: `sum by (operation, outcome) (rate(kernelyard_engine_calls_total{${HOSTS}}[$__rate_interval]))`,
              legend: "{{operation}} {{outcome}}",
            },
          ],
        },
        {
          title: "Time of a round trip",
          about: "On average; seconds say that the engine or the disk is overloaded.",
          unit: "s",
          queries: [
            {
              expr: `sum by (operation) (rate(kernelyard_engine_call_seconds_total{${HOSTS}}[$__rate_interval])) / sum by (operation) (rate(kernelyard_engine_calls_total{${HOSTS}}[$__rate_interval]))`,
              legend: "{{operation}}",
            },
          ],
        },
        {
          title: "Clock against Prometheus'",
          about: "Tokens are refused when it is minutes off.",
          unit: "s",
          queries: [
            {
              expr: `kernelyard_time_seconds{${HOSTS}} - timestamp(kernelyard_time_seconds{${HOSTS}})`,
              legend: "{{instance}}",
            },
          ],
        },
      ],
    },
    {
      title: "What leaks",
      panels: [
        {
          title: "Open descriptors",
          about: "They follow requests and sandboxes. A line that only rises is a leak.",
          unit: "short",
          queries: [
            { expr: `kernelyard_open_descriptors{${HOSTS}}`, legend: "{{process}}" },
            { expr: `kernelyard_max_descriptors{${HOSTS}}`, legend: "{{process}}, at most" },
          ],
        },
        {
          title: "Sandboxes without an owner",
          about: "0 but for moments.",
          unit: "short",
          queries: [
            { expr: `kernelyard_sandboxes_unowned{${HOSTS}}`, legend: "nobody answers for" },
            { expr: `kernelyard_sandboxes_doomed{${HOSTS}}`, legend: "not removed yet" },
            {
              expr: `increase(kernelyard_orphans_total{${HOSTS}}[$__rate_interval])`,
              legend: "swept: {{what}}",
            },
          ],
        },
        {
          title: "Loop devices and sessions",
          about: "They rise and fall together.",
          unit: "short",
          queries: [
            { expr: `kernelyard_loop_devices{${HOSTS}}`, legend: "loop devices" },
            { expr: `kernelyard_sessions_live{${HOSTS}}`, legend: "sessions with a kernel" },
          ],
        },
      ],
    },
    {
      title: "Disk",
      panels: [
        {
          title: "The disk",
          about: "When only the reserve is free, nothing new is taken.",
          unit: "bytes",
          queries: [
            { expr: `kernelyard_disk_free_bytes{${HOSTS}}`, legend: "free" },
            { expr: `kernelyard_disk_reserve_bytes{${HOSTS}}`, legend: "reserve" },
            { expr: `kernelyard_disk_total_bytes{${HOSTS}}`, legend: "size" },
          ],
        },
        {
          title: "Disk of session volumes",
          about: "What they take; a volume goes when it was not used for `KERNELYARD_SESSION_VOLUME_TTL_MS`.",
          unit: "bytes",
          queries: [{ expr: `kernelyard_session_volume_bytes{${HOSTS}}`, legend: "{{instance}}" }],
        },
        {
          title: "Stored files",
          about: "Of a store on the disk; the limit only where there is one.",
          unit: "bytes",
          queries: [
            { expr: `kernelyard_files_bytes{${HOSTS}}`, legend: "stored" },
            { expr: `kernelyard_files_limit_bytes{${HOSTS}}`, legend: "at most" },
          ],
        },
        {
          title: "Session volumes and files",
          about: "Volumes and files.",
          unit: "short",
          queries: [
            { expr: `kernelyard_session_volumes{${HOSTS}}`, legend: "session volumes" },
            { expr: `kernelyard_files_stored{${HOSTS}}`, legend: "files" },
          ],
        },
      ],
    },
  ],
};
