/** A call of a session that is awake, as a conversation sends it. */
import { figure, p50, p99, type Row, times } from "../row.ts";
import { newSession } from "../service.ts";
import { summarise, timed, timedEach } from "../statistics.ts";
import { CpuTime, type Part } from "../yardsticks/cpu-time.ts";
import { dockerExec } from "../yardsticks/docker-command.ts";

const ROUNDS = 20;
const CALLS = 50;
const JUPYTER_CALLS = 10;
const EXECS = 20;
const CODE = "print(1+1)";
const PRINTED = "2\n";
const cpuName = (part: Part) => `CPU time a call, ${part}`;
const rawCpuName = (part: Part) => `CPU time a raw call, ${part}`;

export const warm: Row = {
  name: "warm",
  title: "warm `print(1+1)` over HTTP",
  async measure(lab) {
    const [raw, service, stream] = [await lab.raw(), await lab.usual(), await lab.rawStream()];
    const jupyter = await lab.jupyter();
    const session = newSession();
    const call = () => service.run(session, CODE, PRINTED);
    const echo = async () => {
      if ((await stream.ask('{"echo": 2}')) !== "2") throw new Error("the stream gave another answer");
    };
    for (let n = 0; n < lab.count(100, 2); n += 1) {
      await call();
      await raw.run(CODE, PRINTED);
      await service.refused();
    }
    const pids = { gateway: service.stack.gatewayPid, launcher: service.stack.launcherPid };
    const cpu = { ours: new CpuTime(pids), raw: new CpuTime(pids) };
    const ours: number[] = [];
    const floor: number[] = [];
    const bytes: number[] = [];
    const http: number[] = [];
    const theirs: number[] = [];
    // By turns: what the machine does besides hits all alike.
    for (let round = 0; round < lab.count(ROUNDS); round += 1) {
      const calls = lab.count(CALLS, 2);
      floor.push(...(await cpu.raw.during(() => timedEach(calls, () => raw.run(CODE, PRINTED)))));
      ours.push(...(await cpu.ours.during(() => timedEach(calls, call))));
      bytes.push(...(await timedEach(calls, echo)));
      http.push(...(await timedEach(calls, () => service.refused())));
      for (let n = 0; n < lab.count(JUPYTER_CALLS, 2); n += 1) theirs.push(await jupyter.run(CODE, PRINTED));
    }
    const cpuOf = (name: (part: Part) => string, taken: CpuTime, parts: readonly Part[]) =>
      parts.map((part) => figure(name(part), taken.of(part) / ours.length, "ms", { count: ours.length }));
    const execs: number[] = [];
    for (let n = 0; n < lab.count(EXECS); n += 1)
      execs.push(await timed(() => dockerExec(raw.program.containerId, CODE, PRINTED)));
    await service.forget(session);
    const [own, least] = [summarise(ours), summarise(floor)];
    const [notebook, exec] = [summarise(theirs).p50 / own.p50, summarise(execs).p50 / own.p50];
    return [
      p50("p50", ours, { ratio: times(own.p50, "raw stream", least.p50), goal: { atMost: 1 } }),
      figure("against the raw stream", own.p50 / least.p50, "×", { count: ours.length, goal: { atMost: 2 } }),
      figure("faster than Jupyter", notebook, "×", { count: theirs.length, goal: { atLeast: 8 } }),
      figure("faster than docker exec", exec, "×", { count: execs.length, goal: { atLeast: 50 } }),
      p99("p99", ours, { ratio: times(own.p99, "raw stream", least.p99), goal: { atMost: 5 } }),
      p50("raw stream and IPython, p50", floor),
      p99("raw stream and IPython, p99", floor),
      p50("Jupyter Kernel Gateway and ipykernel, p50", theirs),
      p99("Jupyter Kernel Gateway and ipykernel, p99", theirs),
      p50("docker exec, p50", execs),
      p50("raw stream, one line back, p50", bytes),
      p50("HTTP request that runs nothing, p50", http),
      ...cpuOf(cpuName, cpu.ours, ["client", "gateway", "launcher", "engine", "sandbox"]),
      ...cpuOf(rawCpuName, cpu.raw, ["engine", "sandbox"]),
    ];
  },
  because: (of) => {
    const cpu = (name: (part: Part) => string, parts: readonly Part[]) =>
      parts.map((part) => `${part} ${of(name(part))}`).join(", ");
    return (
      `the raw stream with IPython alone takes ${of("raw stream and IPython, p50")} here, an HTTP request that runs nothing ` +
      `${of("HTTP request that runs nothing, p50")}. A call's CPU time, most of it one part after the other: ` +
      `${cpu(cpuName, ["client", "gateway", "launcher", "engine", "sandbox"])}; a raw call's: ${cpu(rawCpuName, ["engine", "sandbox"])}`
    );
  },
};
