/** At a glance: does it serve, how fast, how full. */
import { type Dashboard, HOSTS } from "./build.ts";

export const OVERVIEW: Dashboard = {
  uid: "kernelyard-overview",
  title: "Kernelyard: overview",
  about: "Does it serve, how fast, how full. A red number has an alert of its own, and that a runbook.",
  rows: [
    {
      title: "Now",
      panels: [
        {
          title: "Hosts that execute code",
          about: "Each host runs a line of Python in a real sandbox every half minute.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `sum(kernelyard_canary_ok{${HOSTS}})`, legend: "" }],
          limits: [1, 0.5],
        },
        {
          title: "Requests",
          about: "All of them, also refused ones.",
          unit: "reqps",
          kind: "stat",
          queries: [
            {
              expr: `sum(rate(http_requests_total{${HOSTS},path!="/health"}[$__rate_interval]))`,
              legend: "",
            },
          ],
        },
        {
          title: "Errors of the service",
          about: "Share of 5xx. What user code does is never one.",
          unit: "percentunit",
          kind: "stat",
          queries: [
            {
              expr: `(sum(rate(http_requests_total{${HOSTS},path!="/health",status=~"5.."}[$__rate_interval])) or vector(0)) / sum(rate(http_requests_total{${HOSTS},path!="/health"}[$__rate_interval]))`,
              legend: "",
            },
          ],
          limits: [0.005, 0.02],
        },
        {
          title: "Calls that run or wait",
          about: "At this moment.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `sum(kernelyard_executions_running{${HOSTS}})`, legend: "" }],
        },
        {
          title: "Sessions with variables",
          about: "Sessions that have a kernel now.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `sum(kernelyard_sessions_live{${HOSTS}})`, legend: "" }],
        },
        {
          title: "Places taken",
          about:
            "Sandboxes of those that fit. Idle ones give way, so that all of them taken is no harm by itself.",
          unit: "percentunit",
          kind: "stat",
          queries: [
            {
              expr: `sum(kernelyard_places_taken{${HOSTS}}) / sum(kernelyard_places_capacity{${HOSTS}})`,
              legend: "",
            },
          ],
        },
      ],
    },
    {
      title: "Calls",
      panels: [
        {
          title: "Requests by status",
          about: "2xx alone is the rule; 429 are limits, 401 wrong keys, 5xx the service.",
          unit: "reqps",
          kind: "stacked",
          queries: [
            {
              expr: `sum by (status) (rate(http_requests_total{${HOSTS},path!="/health"}[$__rate_interval]))`,
              legend: "{{status}}",
            },
          ],
        },
        {
          title: "Executions by outcome",
          about: "`completed` and `failed` are what code does; the rest is a limit, or the service.",
          unit: "ops",
          kind: "stacked",
          queries: [
            {
              expr: `sum by (outcome) (rate(kernelyard_executions_total{${HOSTS}}[$__rate_interval]))`,
              legend: "{{outcome}}",
            },
          ],
        },
        {
          title: "Time of a request",
          about:
            "With the code's own time: a long tail is long code unless the next dashboard says otherwise.",
          unit: "s",
          queries: [0.5, 0.95, 0.99].map((quantile) => ({
            expr: `histogram_quantile(${quantile}, sum by (le) (rate(http_request_duration_seconds_bucket{${HOSTS},path=~"/exec.*|/run"}[$__rate_interval])))`,
            legend: `${quantile * 100} %`,
          })),
        },
      ],
    },
    {
      title: "Hosts",
      panels: [
        {
          title: "Places in which calls run",
          about: "At the capacity, callers wait and then get 429.",
          unit: "short",
          queries: [
            { expr: `kernelyard_places_busy{${HOSTS}}`, legend: "{{instance}} busy" },
            { expr: `kernelyard_places_capacity{${HOSTS}}`, legend: "{{instance}} capacity" },
          ],
        },
        {
          title: "Since code was last executed",
          about: "Below 90 s; an alert follows at 10 min.",
          unit: "s",
          queries: [{ expr: `kernelyard_canary_age_seconds{${HOSTS}}`, legend: "{{instance}}" }],
        },
        {
          title: "Disk that is free beside the reserve",
          about: "At 0 no new files and sessions are taken.",
          unit: "bytes",
          queries: [
            {
              expr: `kernelyard_disk_free_bytes{${HOSTS}} - kernelyard_disk_reserve_bytes{${HOSTS}}`,
              legend: "{{instance}}",
            },
          ],
        },
      ],
    },
  ],
};
