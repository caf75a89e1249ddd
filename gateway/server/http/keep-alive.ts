/**
 * Long calls keep their connection: proxies and clients cut one that is silent for a minute. From some time on after the
 * code began to run, a space is sent now and then, which JSON may begin with. The status is out by then, and it is
 * true: code that runs has a result (200), whatever comes of it. Should the service fail after all, the response breaks
 * off, which every client takes for what it is: no answer.
 */
import type { ServerResponse } from "node:http";
import type { AppContext, AppDeps } from "./context.ts";
import { brokeOff } from "./failure.ts";
import { outgoingOf } from "./in-flight.ts";

const SPACE = new TextEncoder().encode(" ");

/** `running` resolves when the code runs: from then on it is silent for `KERNELYARD_KEEP_ALIVE_MS` at most. */
export async function answerInTime(
  c: AppContext,
  deps: Pick<AppDeps, "log" | "settings">,
  answer: Promise<object>,
  running: Promise<void>,
): Promise<Response> {
  const everyMs = deps.settings.keepAliveMs;
  if (everyMs === null) return c.json(await answer);
  let timer: NodeJS.Timeout | undefined;
  const long = new Promise<"long">((resolve) => {
    void running.then(() => {
      timer = setTimeout(() => resolve("long"), everyMs);
    });
  });
  const first = await Promise.race([answer, long]).finally(() => clearTimeout(timer));
  if (first !== "long") return c.json(first);
  c.set(
    "answered",
    answer.then(
      () => {},
      (error: unknown) => void brokeOff(error, c, deps),
    ),
  );
  return c.body(spacesUntil(answer, everyMs, outgoingOf(c)), 200, {
    "Content-Type": "application/json",
    "X-Accel-Buffering": "no",
  });
}

/** `outgoing`: null where no connection is behind the response. */
function spacesUntil(
  answer: Promise<object>,
  everyMs: number,
  outgoing: ServerResponse | null,
): ReadableStream<Uint8Array> {
  let timer: NodeJS.Timeout | undefined;
  return new ReadableStream({
    start(controller) {
      controller.enqueue(SPACE);
      timer = setInterval(() => {
        // Who does not read needs no more of them.
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(SPACE);
      }, everyMs);
      answer.then(
        (body) => {
          clearInterval(timer);
          controller.enqueue(new TextEncoder().encode(JSON.stringify(body)));
          controller.close();
        },
        (error: unknown) => {
          clearInterval(timer);
          // The server itself would end the response with words of its own.
          if (outgoing === null) controller.error(error);
          else outgoing.destroy();
        },
      );
    },
    cancel() {
      clearInterval(timer);
    },
  });
}
