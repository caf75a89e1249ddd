/** What requests hold together, whatever they ask for. */
import { callerOf } from "../../auth/principal.ts";
import type { MemoryBudget } from "../../bounds/memory.ts";
import type { AppContext } from "../context.ts";
import { ServiceError } from "../errors.ts";

/** One request without its body: objects, buffers of its connection, its reply. */
const EACH_BYTES = 32 * 1024;
/** A file that streams through: buffers of the form, of the disk, of the connection. */
export const STREAM_BYTES = 512 * 1024;
const RETRY_AFTER_S = 2;

const taken = (budget: MemoryBudget) =>
  new ServiceError(
    "rate_limited",
    `The ${budget.bytes} bytes that requests may hold together are taken; try again, or raise KERNELYARD_GATEWAY_MEMORY`,
    { retryAfterSeconds: RETRY_AFTER_S, headers: { Connection: "close" } },
  );

/** Begins this request's part, until it is released. Throws 429. */
export function holdRequest(c: AppContext, budget: MemoryBudget): void {
  const hold = budget.take(EACH_BYTES, callerOf(c.get("principal")));
  if (hold === null) throw taken(budget);
  c.set("memory", { hold, budget });
}

/** Throws 429. */
export function holdMore(c: AppContext, bytes: number): void {
  const { hold, budget } = c.get("memory");
  if (!hold.grow(bytes)) throw taken(budget);
}
