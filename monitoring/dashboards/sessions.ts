/** Why callers wait, and why sessions lose variables. */
import { type Dashboard, HOSTS } from "./build.ts";

export const SESSIONS: Dashboard = {
  uid: "kernelyard-sessions",
  title: "Kernelyard: sessions and latency",
  about: "Why callers wait, and why sessions lose their variables.",
  rows: [
    {
      title: "Time",
      panels: [
        {
          title: "Time of code, by language",
          about: "95th percentile, as the sandbox measured it: without waiting and files.",
          unit: "s",
          queries: [
            {
              expr: `histogram_quantile(0.95, sum by (language, le) (rate(kernelyard_execution_seconds_bucket{${HOSTS}}[$__rate_interval])))`,
              legend: "{{language}}",
            },
          ],
        },
        {
          title: "Waiting for one's own session",
          about: "Calls of one session run one after another.",
          unit: "s",
          queries: [0.5, 0.9, 0.99].map((quantile) => ({
            expr: `histogram_quantile(${quantile}, sum by (le) (rate(kernelyard_queue_wait_seconds_bucket{${HOSTS}}[$__rate_interval])))`,
            legend: `${quantile * 100} %`,
          })),
        },
        {
          title: "Calls that wait",
          about: "For their session, or for a place on the host.",
          unit: "short",
          queries: [
            { expr: `kernelyard_calls_waiting{${HOSTS}}`, legend: "{{instance}}" },
            { expr: `kernelyard_programs{${HOSTS}}`, legend: "{{instance}} programs with tools" },
          ],
        },
      ],
    },
    {
      title: "Kernels",
      panels: [
        {
          title: "New kernels",
          about: "Calls that were served by a kernel of their own (`fresh`), or the first one of a session.",
          unit: "ops",
          queries: [
            {
              expr: `sum by (kind) (rate(kernelyard_kernel_starts_total{${HOSTS}}[$__rate_interval]))`,
              legend: "{{kind}}",
            },
          ],
        },
        {
          title: "Kernels that were started anew",
          about: "Within a call: variables lost, files kept.",
          unit: "short",
          kind: "stacked",
          queries: [
            {
              expr: `sum by (reason) (increase(kernelyard_kernel_restarts_total{${HOSTS}}[$__rate_interval]))`,
              legend: "{{reason}}",
            },
          ],
        },
        {
          title: "Sandboxes that sessions lost",
          about: "`idle` is the rule; `gave_way` asks for more memory; the others for a look at the log.",
          unit: "short",
          kind: "stacked",
          queries: [
            {
              expr: `sum by (reason) (increase(kernelyard_kernel_losses_total{${HOSTS}}[$__rate_interval]))`,
              legend: "{{reason}}",
            },
          ],
        },
      ],
    },
    {
      title: "Sandboxes",
      panels: [
        {
          title: "Sessions and spare sandboxes",
          about: "Without a spare one, a call without a session waits for a new one.",
          unit: "short",
          queries: [
            { expr: `kernelyard_sessions_live{${HOSTS}}`, legend: "{{instance}} sessions" },
            { expr: `kernelyard_sessions_sleeping{${HOSTS}}`, legend: "{{instance}} asleep" },
            { expr: `kernelyard_pool_ready{${HOSTS}}`, legend: "{{instance}} spare" },
            { expr: `kernelyard_pool_size{${HOSTS}}`, legend: "{{instance}} spare, wanted" },
          ],
        },
        {
          title: "Time to start one",
          about: "On average. Half a second is usual; more says that processor or disk are busy.",
          unit: "s",
          queries: [
            {
              expr: `sum by (kind) (rate(kernelyard_sandbox_start_seconds_total{${HOSTS},outcome="started"}[$__rate_interval])) / sum by (kind) (rate(kernelyard_sandbox_starts_total{${HOSTS},outcome="started"}[$__rate_interval]))`,
              legend: "{{kind}}",
            },
          ],
        },
        {
          title: "How sandboxes ended",
          about: "`killed` is the gateway's own doing, after every call without a session.",
          unit: "short",
          kind: "stacked",
          queries: [
            {
              expr: `sum by (reason) (increase(kernelyard_sandbox_ends_total{${HOSTS}}[$__rate_interval]))`,
              legend: "{{reason}}",
            },
          ],
        },
      ],
    },
  ],
};
