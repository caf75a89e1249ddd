/** How many sandboxes a host takes: admission is by memory, nothing is promised twice. */

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** gVisor's own memory beside a sandbox's limit, and the engine's processes for it. */
const RUNTIME_SHARE_BYTES = 70 * MIB;
/** Left to the host's own services. */
const HOST_RESERVE_BYTES = 2 * GIB;

export interface CapacityInput {
  readonly memoryBytes: number;
  readonly memoryBudgetBytes: number | null;
  readonly hostMemoryBytes: number;
}

/** What one sandbox takes of the budget. */
export function sandboxBytes(memoryBytes: number): number {
  return memoryBytes + RUNTIME_SHARE_BYTES;
}

export function capacityOf(input: CapacityInput): { budgetBytes: number; sandboxes: number } {
  const { hostMemoryBytes } = input;
  const budgetBytes =
    input.memoryBudgetBytes ??
    Math.floor(Math.max(hostMemoryBytes - HOST_RESERVE_BYTES, hostMemoryBytes / 2));
  return { budgetBytes, sandboxes: Math.floor(budgetBytes / sandboxBytes(input.memoryBytes)) };
}
