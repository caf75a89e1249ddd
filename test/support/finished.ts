import type { Finished } from "../../gateway/server/execution/call.ts";

/** The outcome of a call that printed nothing and ended well in a sandbox of its own. */
export function finished(more: Partial<Finished> = {}): Finished {
  return {
    kind: "finished",
    stdout: "",
    stderr: "",
    stdoutTruncated: false,
    stderrTruncated: false,
    exitCode: 0,
    signal: null,
    reason: null,
    wallTimeMs: 1,
    timeoutMs: 300_000,
    kernel: { status: "new", after: "gone", cells: 0, waitedMs: 0, gaveWay: false, lostBefore: null },
    inputs: null,
    leftBehind: { paths: [], counts: {}, directory: null },
    undelivered: [],
    takenBack: false,
    ...more,
  };
}
