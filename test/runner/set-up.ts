/** Makes the machine ready for rings: steps side by side where they do not wait for each other. */
import type { Need } from "./rings.ts";
import { runStage, type Stage } from "./stage.ts";

interface Step extends Stage {
  readonly after?: Need;
}

/** Each says what it does and is quick when there is nothing to do. */
export const STEPS: Readonly<Record<Need, Step>> = {
  python: { title: "Python environment", command: ["node", "sandbox-image/tools/venv.ts"] },
  host: { title: "host: engine, gVisor, seccomp profile", command: ["bash", "gateway/host/install.sh"] },
  image: { title: "sandbox image", command: ["node", "sandbox-image/tools/build.ts"], after: "host" },
  analyst: {
    title: "sandbox image, profile analyst",
    command: ["node", "sandbox-image/tools/build.ts", "--profile", "analyst"],
    after: "image",
  },
  clients: {
    title: "LibreChat's client packages",
    command: ["node", "test/contract/support/install-clients.ts"],
  },
  s3: { title: "S3 server", command: ["bash", "test/integration/files/versitygw.sh"] },
  prometheus: { title: "Prometheus", command: ["bash", "test/integration/monitoring/prometheus.sh"] },
  chromium: { title: "Chromium", command: ["bash", "test/support/chromium/chromium.sh"] },
  redis: { title: "Redis server", command: ["bash", "test/support/redis/redis-server.sh"] },
  haproxy: { title: "HAProxy", command: ["bash", "test/support/haproxy/haproxy.sh"] },
  pulumi: { title: "Pulumi command", command: ["bash", "test/infra/pulumi-cli.sh"] },
};

/** The titles of what failed, or could not begin because of that. */
export async function setUp(needs: readonly Need[]): Promise<string[]> {
  const width = Math.max(0, ...needs.map((need) => need.length));
  const done = new Map<Need, Promise<boolean>>();
  const run = (need: Need): Promise<boolean> => {
    const present = done.get(need);
    if (present !== undefined) return present;
    const step = STEPS[need];
    const before = step.after === undefined ? Promise.resolve(true) : run(step.after);
    const outcome = before.then((ready) => ready && runStage(step, { mark: need.padEnd(width) }));
    done.set(need, outcome);
    return outcome;
  };
  const outcomes = await Promise.all(needs.map(async (need) => ({ need, ready: await run(need) })));
  return outcomes.filter(({ ready }) => !ready).map(({ need }) => STEPS[need].title);
}
