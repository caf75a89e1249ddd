/**
 * How the gateway's memory is divided. Its container gets the whole, Node the heap as a flag, requests and transfers
 * are counted against their parts: so what is refused is refused before the kernel of the host has to kill.
 */

const MIB = 1024 * 1024;

export interface GatewayMemory {
  readonly totalMib: number;
  /** `--max-old-space-size` of the process. */
  readonly heapMib: number;
  /** Old generation of the thread that reads large JSON. */
  readonly jsonHeapMib: number;
  /** Bodies and what is made of them, as long as their requests last. */
  readonly requestBytes: number;
  /** Files on their way in and out. */
  readonly transferBytes: number;
}

/** A fifth is left: the program itself, both young generations, sockets, the kernels' streams. */
export function gatewayMemory(totalBytes: number): GatewayMemory {
  const mib = (share: number) => Math.floor((totalBytes * share) / MIB);
  return {
    totalMib: mib(1),
    heapMib: mib(3 / 8),
    jsonHeapMib: mib(3 / 16),
    requestBytes: Math.floor(totalBytes / 8),
    transferBytes: Math.floor(totalBytes / 8),
  };
}

/**
 * V8 counts buffers outside its heap as well, and marks all of it when so much has come since it did so last; where a heap begins small,
 * that is each ten mebibytes of a file that passes. What lies dead until then is taken by `transfer-memory.ts`.
 */
const MARK_AFTER_MIB = 128;
const markAfter = (mib: number) => `--initial-old-space-size=${mib}`;

/** V8 derives it from the old generation's, 3 MiB of 384: young objects are then collected every hundred calls, and many grow old by that. */
const SEMI_SPACE_MIB = 16;

/** Flags of the gateway's Node. */
export function heapFlags({ heapMib }: GatewayMemory): string[] {
  return [
    `--max-old-space-size=${heapMib}`,
    `--max-semi-space-size=${Math.max(1, Math.min(SEMI_SPACE_MIB, Math.floor(heapMib / 24)))}`,
    markAfter(Math.min(MARK_AFTER_MIB, Math.floor(heapMib / 3))),
  ];
}

/** Flags of the launcher's Node. */
export const LAUNCHER_HEAP_FLAGS = [markAfter(MARK_AFTER_MIB / 2)] as const;
