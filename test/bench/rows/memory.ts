/** What a session costs that is awake and does nothing. */
import { setTimeout as delay } from "node:timers/promises";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { sandboxBytes } from "../../../gateway/launcher/spec/capacity.ts";
import { figure, type Row } from "../row.ts";
import { newSession } from "../service.ts";
import { median } from "../statistics.ts";
import { containerMemory } from "../yardsticks/container-memory.ts";
import { LineProgram } from "../yardsticks/line-program.ts";

/** Limit and gVisor's own share: nothing is promised twice. */
const PROMISED_MIB = sandboxBytes(readSettings({}).memoryBytes) / (1024 * 1024);
const SESSIONS = 8;
const KERNELS = 3;
/** What a call leaves to be made anew is there again: the fork that waits, bash. */
const IDLE_MS = 5000;
const IMPORTS = "import IPython, matplotlib.pyplot, numpy, pandas, scipy; print(1)";

export const memory: Row = {
  name: "memory",
  title: "memory per awake idle session",
  async measure(lab) {
    const service = await lab.usual();
    const sessions = Array.from({ length: lab.count(SESSIONS) }, newSession);
    for (const session of sessions) await service.run(session, IMPORTS, "1\n");
    const kernels: LineProgram[] = [];
    const floor = await LineProgram.start("raw_kernel.py");
    try {
      for (let n = 0; n < lab.count(KERNELS); n += 1) {
        const kernel = await LineProgram.start("ipykernel_idle.py");
        kernels.push(kernel);
        if ((await kernel.line()) !== "ready") throw new Error("ipykernel did not come up");
      }
      if ((await floor.ask(JSON.stringify(IMPORTS))) !== JSON.stringify("1\n"))
        throw new Error("the raw kernel did not import");
      await delay(lab.count(IDLE_MS));
      const containers = await service.stack.containers("session");
      const own = containers.map(({ Id }) => containerMemory(Id));
      const theirs = kernels.map(({ containerId }) => containerMemory(containerId));
      const health = await service.health();
      return [
        figure("awake, idle", median(own), "MiB", {
          count: own.length,
          ratio: { of: "ipykernel", value: median(own) / median(theirs) },
          goal: { atMost: 100 },
        }),
        figure("ipykernel with the same libraries", median(theirs), "MiB", { count: theirs.length }),
        figure("IPython alone with the same libraries", containerMemory(floor.containerId), "MiB"),
        figure("promised to each, used or not", PROMISED_MIB, "MiB"),
        figure("sessions awake that this host takes", health.capacity ?? 0, "sessions"),
      ];
    } finally {
      await floor.stop();
      for (const kernel of kernels) await kernel.stop();
      for (const session of sessions) await service.forget(session);
    }
  },
  because: (of) =>
    `one process with the libraries takes ${of("IPython alone with the same libraries")} under gVisor, and a session has three: supervisor, template and kernel`,
};
