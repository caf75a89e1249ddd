/** Several hosts: who takes part, which calls travel, and why they wait. */
import { type Dashboard, HOSTS } from "./build.ts";

const total = (name: string, label: string) => ({
  expr: `sum by (${label}) (rate(kernelyard_fleet_${name}_total{${HOSTS}}[$__rate_interval]))`,
  legend: `{{${label}}}`,
});

export const FLEET: Dashboard = {
  uid: "kernelyard-fleet",
  title: "Kernelyard: several hosts",
  about: "Who takes part in the fleet, which calls travel between its hosts, and why they wait.",
  rows: [
    {
      title: "Hosts",
      panels: [
        {
          title: "Takes part",
          about: "1 on every host while all of them take part; 0: one refuses calls of sessions.",
          unit: "short",
          kind: "stat",
          queries: [{ expr: `min(kernelyard_fleet_member{${HOSTS}})`, legend: "" }],
          limits: [1, 0.5],
        },
        {
          title: "Hosts, as they see each other",
          about: "The same number on all; a lower one on some is a way that is cut.",
          unit: "short",
          queries: [{ expr: `kernelyard_fleet_hosts{${HOSTS}}`, legend: "{{instance}}" }],
        },
        {
          title: "Sessions with a kernel",
          about: "How they are spread; a new host begins with none.",
          unit: "short",
          queries: [{ expr: `kernelyard_sessions_live{${HOSTS}}`, legend: "{{instance}}" }],
        },
      ],
    },
    {
      title: "Calls between hosts",
      panels: [
        {
          title: "Forwarded calls",
          about: "`lost`: the other host ended meanwhile, and the caller was told so.",
          unit: "ops",
          queries: [total("forwards", "outcome")],
        },
        {
          title: "Waits",
          about: "`engine_away` and `engine_emptied`: look at the directory; `no_host`: no host has room.",
          unit: "ops",
          queries: [total("waits", "reason")],
        },
        {
          title: "Sessions that travel",
          about: "`host_lost`: their variables and files are gone; `left`: another host has them now.",
          unit: "ops",
          queries: [total("sessions", "outcome")],
        },
      ],
    },
  ],
};
