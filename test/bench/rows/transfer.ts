/** A large file on its way into a sandbox and out of it, and what others notice of that. */
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { figure, p99, type Row } from "../row.ts";
import { newSession, type Service } from "../service.ts";
import { type Samples, summarise, timed } from "../statistics.ts";
import { CpuTime, PARTS, type Part } from "../yardsticks/cpu-time.ts";
import type { LineProgram } from "../yardsticks/line-program.ts";

const MB = 1_000_000;
const SIZE = 100 * MB;
const TIMES = 5;
const WARM_CALLS = 50;
const PIECE = 1 << 20;
/** Between two calls of the neighbour. */
const PAUSE_MS = 5;

interface Moved {
  readonly into: number[];
  readonly out: number[];
  readonly neighbour: number[];
  /** With that of the neighbour's calls. */
  readonly cpu: { readonly into: CpuTime; readonly out: CpuTime };
}

const partOf = (way: "in" | "out", part: Part) => `CPU time of 100 MB ${way}, ${part}`;

/** The duration of `work`; a session is called until it is over, and how long that takes is added to `samples`. */
async function beside(
  service: Service,
  session_id: string,
  samples: number[],
  work: () => Promise<unknown>,
): Promise<number> {
  const client = service.connect();
  let over = false;
  const done = timed(work).finally(() => {
    over = true;
  });
  done.catch(() => {});
  while (!over) {
    samples.push(await timed(() => client.output("/run", { session_id, code: "print(1+1)" }, "2\n")));
    await delay(PAUSE_MS);
  }
  client.close();
  return done;
}

async function moved(service: Service, size: number, often: number): Promise<Moved> {
  const content = randomBytes(size);
  const digest = createHash("sha256").update(content).digest("hex");
  const neighbour = newSession();
  for (let n = 0; n < WARM_CALLS; n += 1) await service.run(neighbour, "print(1+1)", "2\n");
  const pids = { gateway: service.stack.gatewayPid, launcher: service.stack.launcherPid };
  const cpu = { into: new CpuTime(pids), out: new CpuTime(pids) };
  const seen: Moved = { into: [], out: [], neighbour: [], cpu };
  for (let n = 0; n < often; n += 1) {
    // Every time another file and a sandbox that never saw it.
    const name = `large-${n}.bin`;
    const file = await service.upload(name, content);
    const hint = newSession();
    const call = (code: string) => ({ lang: "py", code, runtime_session_hint: hint });
    await service.exec(call("print(1+1)"), "2\n");
    const sizeOf = call(`import os; print(os.stat(${JSON.stringify(name)}).st_size)`);
    const into = () => service.exec({ ...sizeOf, files: [file] }, `${size}\n`);
    seen.into.push(await cpu.into.during(() => beside(service, neighbour, seen.neighbour, into)));
    await service.exec(
      call(
        `import hashlib\nwith open(${JSON.stringify(name)}, "rb") as f: print(hashlib.file_digest(f, "sha256").hexdigest())`,
      ),
      `${digest}\n`,
    );
    const changed = call(`with open(${JSON.stringify(name)}, "ab") as f: print(f.write(b"."))`);
    const out = async () => {
      const names = await service.filesOf(changed, "1\n");
      if (!names.includes(name)) throw new Error(`${name} did not come out: ${names.join(" ")}`);
    };
    seen.out.push(await cpu.out.during(() => beside(service, neighbour, seen.neighbour, out)));
  }
  await service.forget(neighbour);
  return seen;
}

async function raw(stream: LineProgram, size: number, often: number) {
  const piece = randomBytes(PIECE);
  const into: number[] = [];
  const out: number[] = [];
  function* pieces() {
    for (let left = size; left > 0; left -= PIECE) yield piece.subarray(0, Math.min(left, PIECE));
  }
  for (let n = 0; n < often; n += 1) {
    into.push(
      await timed(async () => {
        const read = await stream.feed(JSON.stringify({ read: size }), pieces());
        if (read !== String(size)) throw new Error(`the stream read ${read} of ${size} bytes`);
      }),
    );
    out.push(await timed(() => stream.bytesAfter(JSON.stringify({ write: size }), size)));
  }
  return { into, out };
}

export const transfer: Row = {
  name: "transfer",
  title: "100 MB in and out of a sandbox",
  async measure(lab) {
    const size = lab.trial ? MB : SIZE;
    const often = lab.count(TIMES);
    const ours = await moved(await lab.usual(), size, often);
    const floor = await raw(await lab.rawStream(), size, often);
    const rate = (samples: Samples) => size / MB / (summarise(samples).p50 / 1000);
    const ratio = (own: Samples, least: Samples) => ({ of: "raw stream", value: rate(own) / rate(least) });
    return [
      figure("in", rate(ours.into), "MB/s", {
        count: often,
        ratio: ratio(ours.into, floor.into),
        goal: { atLeast: 100 },
      }),
      figure("out", rate(ours.out), "MB/s", {
        count: often,
        ratio: ratio(ours.out, floor.out),
        goal: { atLeast: 80 },
      }),
      p99("a neighbour's warm call meanwhile, p99", ours.neighbour, { goal: { atMost: 50 } }),
      figure("raw stream in", rate(floor.into), "MB/s", { count: often }),
      figure("raw stream out", rate(floor.out), "MB/s", { count: often }),
      ...PARTS.flatMap((part) => [
        figure(partOf("in", part), (ours.cpu.into.of(part) / often) * (SIZE / size), "ms", { count: often }),
        figure(partOf("out", part), (ours.cpu.out.of(part) / often) * (SIZE / size), "ms", { count: often }),
      ]),
    ];
  },
  because: (of) => {
    const cpu = (way: "in" | "out") => PARTS.map((part) => `${part} ${of(partOf(way, part))}`).join(", ");
    return (
      `the engine's stream alone carries ${of("raw stream in")} in and ${of("raw stream out")} out here, and files go through the ` +
      `launcher, the gateway and the disk as well. CPU time of 100 MB in: ${cpu("in")}; out: ${cpu("out")}`
    );
  },
};
