import { describe, expect, it } from "vitest";
import type { Finished } from "../../../gateway/server/execution/call.ts";
import { exitCode, stderrWithNotes, verdict, waitRemark } from "../../../gateway/server/execution/verdict.ts";
import { finished } from "../../support/finished.ts";

describe("how a call is told", () => {
  it.each<[string, Partial<Finished>, object, number]>([
    ["it ran", {}, { status: null, code: 0, signal: null, message: null }, 0],
    ["an exception", { exitCode: 1 }, { status: null, code: 1, signal: null, message: null }, 1],
    [
      "a segfault",
      { exitCode: null, signal: "SIGSEGV", reason: "kernel_died" },
      { status: null, code: 139, signal: "SIGSEGV", message: null },
      139,
    ],
    [
      "the time limit",
      { exitCode: null, signal: "SIGKILL", reason: "timeout" },
      { status: "TO", code: null, signal: "SIGKILL", message: "Time limit exceeded" },
      124,
    ],
    [
      "the output limit",
      { exitCode: null, signal: "SIGKILL", reason: "stdout_limit" },
      { status: "OL", code: null, signal: "SIGKILL", message: "stdout length exceeded" },
      137,
    ],
    [
      "memory",
      { exitCode: null, reason: "out_of_memory" },
      { status: "SG", code: null, signal: "SIGKILL", message: "Out of memory" },
      137,
    ],
    [
      "the sandbox ended itself",
      { exitCode: 4, reason: "sandbox_ended" },
      { status: "SG", code: 4, signal: null, message: "Sandbox exited with code 4" },
      4,
    ],
  ])("%s", (_what, more, told, code) => {
    expect(verdict(finished(more))).toEqual(told);
    expect(exitCode(finished(more))).toBe(code);
  });

  it("adds the service's lines to standard error as the reference does, and how long the limit was", () => {
    const late = finished({ stderr: "oops", reason: "timeout", timeoutMs: 1500 });
    expect(stderrWithNotes(late, false)).toBe(
      "oops\n[sandbox] Time limit exceeded\n\n[sandbox] The time limit of this call was 1.5 s.\n",
    );
    expect(stderrWithNotes(finished({ reason: "timeout" }), false)).toContain("was 300 s.\n");
    const large = finished({ stderr: "oops", reason: "stdout_limit" });
    expect(stderrWithNotes(large, false)).toBe("oops\n[sandbox] stdout length exceeded\n");
  });

  it("tells who gave way why, unless it ended by itself", () => {
    const kernel = { ...finished().kernel, after: "kept", gaveWay: true } as const;
    expect(stderrWithNotes(finished({ kernel, reason: "interrupted" }), true)).toContain(
      "Another call of this session waited",
    );
    expect(stderrWithNotes(finished({ kernel }), true)).toBe("");
  });

  it("tells who waited long", () => {
    const waited = (waitedMs: number) => waitRemark(finished({ kernel: { ...finished().kernel, waitedMs } }));
    expect(waited(4999)).toEqual([]);
    expect(waited(61_234)).toEqual(["This call waited 61.2 s for an earlier call of its session."]);
  });

  it("tells what the sandbox said of its whole directory", () => {
    const leftBehind = { paths: [], counts: {}, directory: "there are too many files" };
    expect(stderrWithNotes(finished({ leftBehind }), false)).toBe(
      "\n[sandbox] Files may be missing from this reply: there are too many files.\n",
    );
  });

  it("tells a session, and nobody else, that its sandbox is gone", () => {
    const gone = finished({
      reason: "out_of_memory",
      kernel: { ...finished().kernel, status: "reused", after: "gone" },
    });
    expect(stderrWithNotes(gone, true)).toContain("variables are lost, files are kept");
    expect(stderrWithNotes(gone, false)).not.toContain("variables");
  });
});
