import { describe, expect, it } from "vitest";
import type { Finished } from "../../../gateway/server/execution/call.ts";
import { exitCode, stderrWithNotes, verdict } from "../../../gateway/server/execution/verdict.ts";
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

  it("adds the service's lines to standard error as the reference does", () => {
    const told = stderrWithNotes(finished({ stderr: "oops", reason: "timeout" }), false);
    expect(told).toBe("oops\n[sandbox] Time limit exceeded\n");
  });

  it("tells a session, and nobody else, that its sandbox is gone", () => {
    const gone = finished({
      reason: "out_of_memory",
      kernel: { status: "reused", after: "gone", lostBefore: null },
    });
    expect(stderrWithNotes(gone, true)).toContain("variables are lost, files are kept");
    expect(stderrWithNotes(gone, false)).not.toContain("variables");
  });
});
