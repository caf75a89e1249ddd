import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createJsonReader } from "../../../gateway/server/assemble.ts";
import type { Principal } from "../../../gateway/server/auth/principal.ts";
import { MemoryBudget } from "../../../gateway/server/bounds/memory.ts";
import { TOKEN_LIFETIME_MS } from "../../../gateway/server/execution/programs/limits.ts";
import type { ProgramHooks } from "../../../gateway/server/execution/programs/program.ts";
import { type ProgramAnswer, Programs } from "../../../gateway/server/execution/programs/programs.ts";
import {
  checkToolResults,
  type ReceivedResult,
} from "../../../gateway/server/execution/programs/tool-results.ts";

const alice: Principal = { mode: "jwt", tenant: "jwt-a", subject: "alice" };
const bob: Principal = { mode: "jwt", tenant: "jwt-a", subject: "bob" };
const TOOLS = new Set(["a", "b"]);
const program = (run: (hooks: ProgramHooks) => Promise<string>) => ({
  sessionId: "s",
  toolNames: TOOLS,
  run,
});
const open = () => new AbortController().signal;

interface Asked {
  readonly principal?: Principal;
  readonly signal?: AbortSignal;
  readonly requestId?: string | null;
}
const request = ({ principal = alice, signal = open(), requestId = null }: Asked = {}) => ({
  principal,
  signal,
  requestId,
});

function results(...entries: readonly unknown[]): readonly ReceivedResult[] {
  const checked = checkToolResults(entries);
  if (!checked.ok) throw new Error(checked.error);
  return checked.results;
}
const result = (call_id: string, value: unknown) => ({ call_id, result: value });

interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly input: unknown;
}
const call = (id: string, name = "a"): ToolCall => ({ id, name, input: { of: id } });
const [X, Y] = ["call_007", "call_008"];

/** As the kernel hands them over, and what it hears. */
async function ask(hooks: ProgramHooks, calls: readonly ToolCall[]): Promise<unknown> {
  return JSON.parse(Buffer.concat(await hooks.onToolCalls(Buffer.from(JSON.stringify(calls)))).toString());
}

/** A program as a kernel would run it: calls `a` and `b` together, then `a` again, and says what it got. */
async function twoRounds(hooks: ProgramHooks): Promise<string> {
  hooks.onStream("stdout", Buffer.from("début\n").subarray(0, 2));
  hooks.onStream("stdout", Buffer.from("début\n").subarray(2));
  const first = await ask(hooks, [call(X), call(Y, "b")]);
  const second = await ask(hooks, [call(X)]);
  return JSON.stringify([first, second]);
}

const forever = (hooks: ProgramHooks) =>
  new Promise<string>((_, reject) => {
    hooks.signal.addEventListener("abort", () => reject(new Error("ended")), { once: true });
  });

type Answer = ProgramAnswer<string>;
function waiting(answer: Answer): { token: string; ids: readonly string[] } {
  if (answer.kind !== "round" || answer.round.kind !== "tool_calls") throw new Error(JSON.stringify(answer));
  return { token: answer.token, ids: answer.round.calls.map(({ id }) => id) };
}
function finished(answer: Answer): string {
  if (answer.kind !== "round" || answer.round.kind !== "finished") throw new Error(JSON.stringify(answer));
  return answer.round.reply;
}

const json = createJsonReader({ gatewayMemoryBytes: 1024 ** 3 });
const newPrograms = (bytes = 1024 ** 2) =>
  new Programs<string>({ json, memory: new MemoryBudget(bytes), limits: { total: 3, perUser: 2 } });
let programs: Programs<string>;
beforeEach(() => {
  programs = newPrograms();
});
afterEach(() => {
  programs.close();
  vi.useRealTimers();
});

describe("a program that calls tools", () => {
  it("a-2 goes through its rounds without being replayed", async () => {
    const first = await programs.start(request(), program(twoRounds));
    expect(first).toMatchObject({
      kind: "round",
      round: {
        kind: "tool_calls",
        stdout: "début\n",
        calls: [
          { id: "call_001", name: "a", input: { of: X } },
          { id: "call_002", name: "b", input: { of: Y } },
        ],
      },
    });
    const second = await programs.continue(
      request(),
      waiting(first).token,
      results(
        { call_id: "call_002", result: null, is_error: true, error_message: "nope" },
        result("call_001", [1]),
      ),
    );
    expect(waiting(second).ids).toEqual(["call_003"]);
    const last = await programs.continue(request(), waiting(second).token, results(result("call_003", "z")));
    const [got, then]: readonly object[][] = JSON.parse(finished(last));
    // The program hears its own ids, whatever it chose.
    expect(got).toEqual([
      { call_id: Y, result: null, is_error: true, error_message: "nope" },
      { call_id: X, result: [1], is_error: false },
    ]);
    expect(then).toEqual([{ call_id: X, result: "z", is_error: false }]);
    expect(programs.size).toBe(0);
  });

  it("a part of the results leaves the rest to be asked for", async () => {
    const { token } = waiting(await programs.start(request(), program(twoRounds)));
    const rest = waiting(await programs.continue(request(), token, results(result("call_001", 1))));
    expect(rest.ids).toEqual(["call_002"]);
    const next = await programs.continue(request(), rest.token, results(result("call_002", 2)));
    expect(waiting(next).ids).toEqual(["call_003"]);
  });

  it("a repeated delivery is recognised, a different one refused", async () => {
    const { token } = waiting(await programs.start(request(), program(twoRounds)));
    const both = results(result("call_001", 1), result("call_002", 2));
    await programs.continue(request(), token, both);
    expect(waiting(await programs.continue(request(), token, both)).ids).toEqual(["call_003"]);
    expect(await programs.continue(request(), token, results(result("call_001", "other")))).toMatchObject({
      kind: "refused",
      status: 409,
    });
  });

  it("results nobody asked for are refused, and change nothing", async () => {
    const { token } = waiting(await programs.start(request(), program(twoRounds)));
    const forged = results(result("call_001", 1), result("call_099", 2));
    expect(await programs.continue(request(), token, forged)).toMatchObject({ status: 400 });
    const fair = results(result("call_001", "mine"), result("call_002", 2));
    expect(waiting(await programs.continue(request(), token, fair)).ids).toEqual(["call_003"]);
  });

  it("a second continuation at the same time is refused", async () => {
    const answer = Promise.withResolvers<void>();
    const started = await programs.start(
      request(),
      program(async (hooks) => {
        await ask(hooks, [call(X)]);
        await answer.promise;
        return "done";
      }),
    );
    const { token } = waiting(started);
    const first = programs.continue(request(), token, results(result("call_001", 1)));
    expect(await programs.continue(request(), token, results(result("call_001", 1)))).toMatchObject({
      status: 409,
    });
    answer.resolve();
    expect(finished(await first)).toBe("done");
  });

  it("only its own caller continues it; unknown and malformed tokens are told apart", async () => {
    const { token } = waiting(await programs.start(request(), program(twoRounds)));
    const some = results(result("call_001", 1));
    expect(await programs.continue(request({ principal: bob }), token, some)).toMatchObject({ status: 403 });
    for (const other of [
      { ...alice, tenant: "jwt-b" },
      { ...alice, mode: "api-key" as const },
    ]) {
      expect(await programs.continue(request({ principal: other }), token, some)).toMatchObject({
        status: 403,
      });
    }
    const unknown = Buffer.from(JSON.stringify({ execution_id: "x".repeat(21), ts: 1 })).toString("base64");
    expect(await programs.continue(request(), unknown, some)).toEqual({
      kind: "refused",
      status: 404,
      error: "Execution not found or expired",
    });
    for (const malformed of [
      "",
      "%%%",
      "bm90IGpzb24=",
      Buffer.from("null").toString("base64"),
      "a".repeat(9999),
    ]) {
      expect(await programs.continue(request(), malformed, some)).toMatchObject({ status: 400 });
    }
  });

  it("a token is good for ten minutes, then what the program held is freed", async () => {
    vi.useFakeTimers();
    let ended = false;
    const { token } = waiting(
      await programs.start(
        request(),
        program(async (hooks) => {
          hooks.signal.addEventListener("abort", () => {
            ended = true;
          });
          return twoRounds(hooks);
        }),
      ),
    );
    vi.advanceTimersByTime(TOKEN_LIFETIME_MS - 1);
    const both = results(result("call_001", 1), result("call_002", 2));
    const again = waiting(await programs.continue(request(), token, both)).token;
    vi.advanceTimersByTime(TOKEN_LIFETIME_MS - 1);
    expect(ended).toBe(false);
    vi.advanceTimersByTime(1);
    expect(ended).toBe(true);
    expect(programs.size).toBe(0);
    expect(await programs.continue(request(), again, results(result("call_003", 1)))).toMatchObject({
      status: 404,
    });
  });

  it("a failure of the call while nobody listens is told to the next continuation", async () => {
    const broken = Promise.withResolvers<string>();
    const { token } = waiting(
      await programs.start(
        request(),
        program((hooks) => {
          ask(hooks, [call(X)]).catch(() => {});
          return broken.promise;
        }),
      ),
    );
    broken.reject(new Error("the sandbox is gone"));
    await expect(broken.promise).rejects.toThrow();
    await expect(programs.continue(request(), token, results(result("call_001", 1)))).rejects.toThrow(
      "the sandbox is gone",
    );
    expect(programs.size).toBe(0);
  });
});

describe("what a sandbox may not do", () => {
  const failing = (calls: readonly ToolCall[]) =>
    programs.start(
      request(),
      program(async (hooks) => {
        await ask(hooks, calls).catch(() => {});
        return hooks.failure() ?? "none";
      }),
    );

  it.each([
    [
      "ask for nothing",
      [],
      "sandbox emitted an empty pending tool call block; aborting to avoid a tight retry loop",
    ],
    ["ask for another tool", [call(X, "rm")], "Sandbox requested an unregistered tool: rm"],
    [
      "ask 201 times",
      Array.from({ length: 201 }, (_, i) => call(`call_${1000 + i}`)),
      "Execution exceeded maximum tool calls (200)",
    ],
  ])("%s", async (_, calls, failure) => {
    expect(finished(await failing(calls))).toBe(failure);
  });
});

describe("cancelling", () => {
  it("a-3 ends a running program; the request id is good once", async () => {
    const running = programs.start(request({ requestId: "r1" }), program(forever));
    expect(programs.cancel(bob, "r1")).toBe("forbidden");
    expect(programs.size).toBe(1);
    expect(programs.cancel(alice, "r1")).toBe("cancellation_requested");
    await expect(running).rejects.toThrow("ended");
    expect(programs.size).toBe(0);
    expect(programs.cancel(alice, "r1")).toBe("already_completed");
    expect(await programs.start(request({ requestId: "r1" }), program(forever))).toMatchObject({
      status: 409,
    });
  });

  it("ends a program that waits for its tools", async () => {
    let ended = false;
    const { token } = waiting(
      await programs.start(
        request({ requestId: "r1" }),
        program(async (hooks) => {
          hooks.signal.addEventListener("abort", () => {
            ended = true;
          });
          return twoRounds(hooks);
        }),
      ),
    );
    expect(programs.cancel(alice, "r1")).toBe("cancellation_requested");
    expect(ended).toBe(true);
    expect(await programs.continue(request(), token, results(result("call_001", 1)))).toMatchObject({
      status: 404,
    });
  });

  it("may overtake its request", async () => {
    expect(programs.cancel(alice, "r1")).toBe("cancellation_requested");
    expect(await programs.start(request({ requestId: "r1" }), program(forever))).toMatchObject({
      status: 409,
    });
    expect(programs.size).toBe(0);
  });
});

describe("what is held is bounded", () => {
  it("a caller who hangs up before the reply frees everything", async () => {
    const caller = new AbortController();
    const running = programs.start(request({ signal: caller.signal }), program(forever));
    caller.abort();
    await expect(running).rejects.toThrow("ended");
    expect(programs.size).toBe(0);
  });

  it("a caller who had hung up already, too", async () => {
    await expect(
      programs.start(
        request({ signal: AbortSignal.abort() }),
        program(async (hooks) => {
          hooks.signal.throwIfAborted();
          return "ran";
        }),
      ),
    ).rejects.toThrow();
    expect(programs.size).toBe(0);
  });

  it("a hang-up after the reply changes nothing: the token is out", async () => {
    const caller = new AbortController();
    const { token } = waiting(await programs.start(request({ signal: caller.signal }), program(twoRounds)));
    caller.abort();
    const both = results(result("call_001", 1), result("call_002", 2));
    expect(waiting(await programs.continue(request(), token, both)).ids).toEqual(["call_003"]);
  });

  it("a user has a share, all together a limit; a key has no share of its own", async () => {
    const start = (principal: Principal) => programs.start(request({ principal }), program(twoRounds));
    await start(alice);
    await start(alice);
    expect(await start(alice)).toEqual({ kind: "full", retryAfterSeconds: 60 });
    await start(bob);
    expect(await start(bob)).toMatchObject({ kind: "full" });
    programs.close();
    const key: Principal = { mode: "api-key", tenant: "default", subject: "-" };
    for (let i = 0; i < 3; i++) expect(await start(key)).toMatchObject({ kind: "round" });
    expect(await start(key)).toMatchObject({ kind: "full" });
  });
});
