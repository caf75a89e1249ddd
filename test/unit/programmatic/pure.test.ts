import { describe, expect, it } from "vitest";
import { failureOf } from "../../../gateway/server/execution/programs/reply.ts";
import {
  bashFunctionName,
  findBashCollision,
} from "../../../gateway/server/execution/programs/tool-names.ts";
import { checkToolResults } from "../../../gateway/server/execution/programs/tool-results.ts";
import { finished } from "../../support/finished.ts";

describe("tool results", () => {
  const many = Array.from({ length: 201 }, (_, i) => ({ call_id: `call_${100 + i}`, result: 1 }));
  it.each([
    ["no array", {}, "non-empty array"],
    ["nothing", [], "non-empty array"],
    ["too many", many, "201 entries"],
    ["no object", ["x"], "tool_results[0] must be an object"],
    ["an array", [[]], "tool_results[0] must be an object"],
    ["no id", [{ result: 1 }], "call_id"],
    ["another id", [{ call_id: "x", result: 1 }], "call_001"],
    ["a long id", [{ call_id: "call_1234567", result: 1 }], "call_001"],
    ["no result", [{ call_id: "call_001" }], "result is required"],
    ["a result by inheritance", [Object.create({ call_id: "call_001", result: 1 })], "result is required"],
    ["is_error as text", [{ call_id: "call_001", result: 1, is_error: "yes" }], "is_error"],
    ["error_message as number", [{ call_id: "call_001", result: 1, error_message: 7 }], "error_message"],
    ["one twice", [1, 2].map((result) => ({ call_id: "call_001", result })), "twice"],
    ["a huge one", [{ call_id: "call_001", result: "x".repeat(5_000_001) }], "5000000"],
  ])("a-2 refused: %s", (_, value, words) => {
    const checked = checkToolResults(value);
    expect(checked).toMatchObject({ ok: false, error: expect.stringContaining(words) });
  });

  it("null is a result", () => {
    expect(
      checkToolResults([{ call_id: "call_001", result: null, is_error: false, other: 1 }]),
    ).toMatchObject({
      ok: true,
      results: [{ call_id: "call_001", json: "null", is_error: false }],
    });
  });
});

describe("c-21 names of tools in bash", () => {
  it.each([
    ["get-user", "get_user"],
    ["get user.name", "get_user_name"],
    ["7up", "_7up"],
    ["if", "if_tool"],
    ["export", "export_tool"],
    ["naïve!", "nave"],
  ])("%s → %s", (name, expected) => {
    expect(bashFunctionName(name)).toBe(expected);
  });

  it("two that meet are found", () => {
    expect(findBashCollision([{ name: "a-b" }, { name: "c" }, { name: "a.b" }])).toEqual({
      first: "a-b",
      second: "a.b",
      identifier: "a_b",
    });
    expect(findBashCollision([{ name: "a" }, { name: "b" }])).toBeNull();
  });
});

describe("the last reply", () => {
  it.each([
    [{}, null, null],
    [{ exitCode: 3 }, null, "Sandbox exited with code 3"],
    [{ exitCode: null, signal: "SIGSEGV" }, null, "Sandbox exited with code unknown"],
    [{ reason: "timeout" as const }, null, "Time limit exceeded"],
    [{ reason: "stdout_limit" as const }, null, "stdout length exceeded"],
    [{ reason: "out_of_memory" as const }, null, "Out of memory"],
    [{ reason: "sandbox_ended" as const }, null, "Execution failed or timed out"],
    [
      { reason: "interrupted" as const },
      "Sandbox requested an unregistered tool: x",
      "Sandbox requested an unregistered tool: x",
    ],
  ])("%o after %s is %s", (change, failure, expected) => {
    expect(failureOf(finished(change), failure)).toBe(expected);
  });
});
