/**
 * What a Node process really holds: heap and buffers after a collection, asked through its inspector. Resident size would
 * say when the collector last ran, which the machine's other work decides.
 */
import { once } from "node:events";
import { z } from "zod";

const Answer = z.object({
  id: z.number(),
  result: z.object({ result: z.object({ value: z.unknown() }).optional() }).optional(),
  error: z.object({ message: z.string() }).optional(),
});
const Usage = z.object({ heapUsed: z.number(), external: z.number() });

export class HeldMemory implements Disposable {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #calls = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const { id, result, error } = Answer.parse(JSON.parse(String(data)));
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result?.result?.value);
      else waiting?.reject(new Error(error.message));
    });
    socket.addEventListener("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the process has ended"));
    });
  }

  /** @param inspector the address that a process started with `--inspect` prints. */
  static async of(inspector: string): Promise<HeldMemory> {
    const socket = new WebSocket(inspector);
    await once(socket, "open");
    return new HeldMemory(socket);
  }

  #call(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#calls;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return answer.promise;
  }

  async bytes(): Promise<number> {
    await this.#call("HeapProfiler.collectGarbage");
    const text = await this.#call("Runtime.evaluate", {
      expression: "JSON.stringify(process.memoryUsage())",
    });
    const { heapUsed, external } = Usage.parse(JSON.parse(z.string().parse(text)));
    return heapUsed + external;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

export interface Watched<T> {
  readonly result: T;
  /** The most that was held during the work beyond what was held before, in bytes. */
  readonly growth: number;
  readonly samples: number;
}

/** Looks again and again while the work goes on; a collection stops the process, so that looking takes a third of the time. */
export async function watchHeld<T>(
  memory: HeldMemory,
  work: Promise<T>,
  before: number,
): Promise<Watched<T>> {
  let done = false;
  const end = () => {
    done = true;
  };
  work.then(end, end);
  let most = before;
  let samples = 0;
  while (!done) {
    const began = performance.now();
    most = Math.max(most, await memory.bytes());
    samples += 1;
    const pause = new Promise((resolve) => setTimeout(resolve, 2 * (performance.now() - began)));
    await Promise.race([pause, work]);
  }
  return { result: await work, growth: most - before, samples };
}
