/**
 * Keeps the memory of large transfers small. Every 64 KiB that crosses a socket is a buffer outside V8's heap; V8 lets
 * 64 MiB of dead ones pile up before it looks. A collection of the young generation alone frees them in about a
 * millisecond, so one is asked for after every few mebibytes moved, by whichever transfer.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const MOVED_BYTES = 16 * 1024 * 1024;

type Collect = (options: { readonly type: "minor" }) => void;

/** Node offers the function behind a flag only; null where an engine has none, then V8's own pace has to do. */
function collector(): Collect | null {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("typeof gc === 'function' ? gc : null");
  setFlagsFromString("--no-expose-gc");
  return typeof collect === "function"
    ? (options) => void Reflect.apply(collect, undefined, [options])
    : null;
}

const collect = collector();
let moved = 0;

/** Tells that so many bytes have passed through buffers of this process. */
export function countTransfer(bytes: number): void {
  moved += bytes;
  if (moved < MOVED_BYTES) return;
  moved = 0;
  collect?.({ type: "minor" });
}
