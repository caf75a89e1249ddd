/** Programmatic tool calling with the real clients: the program stays blocked while they run the tools. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { callTool, loadAgents, loadOldAgents } from "../support/librechat/clients.ts";
import { ALICE, BOB, type Service, startService } from "./support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({}, { checkpoints: "ready" });
});
afterAll(() => service?.stop());

type Run = (input: unknown) => unknown;

/** Tools as LibreChat injects them, with what they were asked. */
function toolbox(tools: Readonly<Record<string, Run>>) {
  const asked: [string, unknown][] = [];
  const toolDefs = Object.keys(tools).map((name) => ({
    name,
    description: `the tool ${name}`,
    parameters: { type: "object", properties: {} },
  }));
  const toolMap = new Map(
    Object.entries(tools).map(([name, run]) => [
      name,
      {
        name,
        schema: { type: "object" },
        invoke: async (input: unknown) => {
          asked.push([name, input]);
          return run(input);
        },
      },
    ]),
  );
  return { asked, context: { toolDefs, toolMap } };
}

const params = (extra: object = {}) => ({
  baseUrl: service.baseUrl,
  authHeaders: async () => service.authorization(),
  ...extra,
});
const python = (code: string, context: object, options: { signal?: AbortSignal } = {}) =>
  callTool(
    loadAgents().createProgrammaticToolCallingTool(params()),
    "run_tools_with_code",
    { code },
    context,
    options,
  );
const bash = (code: string, context: object) =>
  callTool(
    loadAgents().createBashProgrammaticToolCallingTool(params()),
    "run_tools_with_bash",
    { code },
    context,
  );

describe("b-10 Python with agents 3.9.2", () => {
  it("several tools over several rounds; nothing runs twice", async () => {
    const { asked, context } = toolbox({
      "get-user": (input) => ({ got: input }),
      add: (input) =>
        z
          .object({ a: z.number(), b: z.number() })
          .transform(({ a, b }) => a + b)
          .parse(input),
    });
    const { content, artifact } = await python(
      [
        "print('once')",
        "user = await get_user(name='ü', skip=None)",
        "total = 0",
        "for i in range(3):",
        "    total = await add(a=total, b=i)",
        "print(user['got'], total)",
      ].join("\n"),
      context,
    );
    expect(content).toBe("stdout:\nonce\n{'name': 'ü'} 3");
    expect(asked).toEqual([
      ["get-user", { name: "ü" }],
      ["add", { a: 0, b: 0 }],
      ["add", { a: 0, b: 1 }],
      ["add", { a: 1, b: 2 }],
    ]);
    expect(artifact.session_id).toMatch(/^[A-Za-z0-9_-]{21}$/);
  });

  it("parallel calls come as one batch", async () => {
    let together = 0;
    let most = 0;
    const slow = async (input: unknown) => {
      together += 1;
      most = Math.max(most, together);
      await new Promise((resolve) => setTimeout(resolve, 50));
      together -= 1;
      return input;
    };
    const { context } = toolbox({ slow });
    const { content } = await python(
      "import asyncio\nr = await asyncio.gather(*(slow(i=i) for i in range(5)))\nprint([x['i'] for x in r])",
      context,
    );
    expect(content).toBe("stdout:\n[0, 1, 2, 3, 4]");
    expect(most).toBe(5);
  });

  it("a failing tool raises in the program, which may catch it", async () => {
    const { context } = toolbox({
      fail: () => {
        throw new Error("no such user");
      },
    });
    const caught = await python(
      "try:\n    await fail()\nexcept Exception as e:\n    print(type(e).__name__, e)",
      context,
    );
    expect(caught.content).toBe("stdout:\nToolExecutionError no such user");
    await expect(python("await fail()", context)).rejects.toThrow(/ToolExecutionError.*no such user/s);
  });

  it("a program that fails is told with its traceback", async () => {
    const { context } = toolbox({ t: () => 1 });
    await expect(python("x = await t()\n1/0", context)).rejects.toThrow(
      /Execution exited with code 1[\s\S]*ZeroDivisionError/,
    );
  });

  it("outputs and inputs are files as in /exec", async () => {
    const { context } = toolbox({ t: () => "x,y\n" });
    const first = await python("open('made.csv','w').write(await t())", context);
    const files = first.artifact.files ?? [];
    expect(files).toMatchObject([{ name: "made.csv", storage_session_id: first.artifact.session_id }]);
    const refs = files.map(({ id, name, storage_session_id }) => ({
      id,
      name,
      storage_session_id,
      kind: "user",
      resource_id: ALICE.id,
    }));
    const second = await python("print(open('/mnt/data/made.csv').read(), await t())", {
      ...context,
      _injected_files: refs,
    });
    expect(second.content).toContain("x,y\n x,y");
    expect(second.artifact.files).toMatchObject([{ id: files[0]?.id, inherited: true }]);
  });
});

describe("b-11 bash with agents 3.9.2", () => {
  it("tools are commands: substitution, pipes, JSON", async () => {
    const { asked, context } = toolbox({
      "get-user": (input) => ({ got: input, list: [1, 2] }),
      echo_back: (input) => input,
    });
    const { content } = await bash(
      [
        `u=$(get_user '{"user":"ü"}')`,
        `echo "$u" | jq -c .got`,
        `for i in 1 2; do echo_back "{\\"i\\":$i}" | jq .i; done`,
      ].join("\n"),
      context,
    );
    expect(content).toBe('stdout:\n{"user":"ü"}\n1\n2');
    expect(asked).toHaveLength(3);
  });

  it("background groups come as one batch", async () => {
    let together = 0;
    let most = 0;
    const { context } = toolbox({
      slow: async (input) => {
        together += 1;
        most = Math.max(most, together);
        await new Promise((resolve) => setTimeout(resolve, 50));
        together -= 1;
        return input;
      },
    });
    const { content } = await bash(
      `for round in 1 2 3 4 5; do
{ slow '{"i":1}' > a.json; } &
{ slow '{"i":2}' > b.json; } &
wait
jq -s -c 'map(.i)' a.json b.json
done`,
      context,
    );
    expect(content).toContain("[1,2]\n".repeat(5).trimEnd());
    // A busy machine may start one client of a round too late for the other's batch; together are those of some round.
    expect(most).toBe(2);
  });

  it("a failing tool writes to standard error and returns 1", async () => {
    const { context } = toolbox({
      fail: () => {
        throw new Error("no such user");
      },
    });
    const { content } = await bash("if fail '{}'; then echo yes; else echo \"code $?\"; fi", context);
    expect(content).toContain("code 1");
    expect(content).toContain("no such user");
  });

  it("attached workspaces are refused for good", async () => {
    const tool = loadAgents().createBashExecutionTool(params({ workspaceId: "ws-1" }));
    await expect(callTool(tool, "bash_tool", { command: "echo hi" })).rejects.toMatchObject({
      retryable: false,
      message: expect.stringContaining("permanent capability mismatch"),
    });
  });
});

describe("agents 3.0.50", () => {
  it("run their programs with a key", async () => {
    const { context } = toolbox({ add: (input) => input });
    const tool = loadOldAgents(service.baseUrl).createProgrammaticToolCallingTool({
      apiKey: service.apiKey,
      baseUrl: service.baseUrl,
    });
    const { content } = await callTool(
      tool,
      "programmatic_code_execution",
      { code: "r = await add(a=1)\nprint(r)", timeout: 10_000 },
      context,
    );
    expect(content).toContain("{'a': 1}");
  });
});

const Waiting = z.object({
  status: z.literal("tool_call_required"),
  continuation_token: z.string(),
  session_id: z.string(),
  tool_calls: z.array(z.object({ id: z.string(), name: z.string(), input: z.unknown() })),
  partial_stdout: z.string(),
});

describe("a-2 the wire", () => {
  const post = (body: unknown, headers: Record<string, string> = {}, user = ALICE) =>
    fetch(`${service.baseUrl}/exec/programmatic`, {
      method: "POST",
      headers: { "content-type": "application/json", ...service.authorization(user), ...headers },
      body: JSON.stringify(body),
    });
  const tools = [{ name: "t", description: "d", parameters: {} }];
  const start = async (code = "print('begun')\nprint(await t(n=1))") =>
    Waiting.parse(await (await post({ code, tools })).json());
  const proceed = (token: string, results: readonly unknown[], user = ALICE) =>
    post({ continuation_token: token, tool_results: results }, {}, user);

  it("says what the program printed so far, and in the end everything", async () => {
    const first = await start();
    expect(first).toMatchObject({
      partial_stdout: "begun\n",
      tool_calls: [{ id: "call_001", name: "t", input: { n: 1 } }],
    });
    const reply = await (
      await proceed(first.continuation_token, [{ call_id: "call_001", result: [1] }])
    ).json();
    expect(reply).toMatchObject({
      status: "completed",
      stdout: "begun\n[1]\n",
      stderr: "",
      files: [],
      session_id: first.session_id,
    });
  });

  it("tokens: malformed 400, another user 403, unknown 404, used up 404", async () => {
    const { continuation_token } = await start();
    const result = [{ call_id: "call_001", result: 1 }];
    expect((await proceed("no token", result)).status).toBe(400);
    expect((await proceed(continuation_token, result, BOB)).status).toBe(403);
    const other = Buffer.from(JSON.stringify({ execution_id: "x".repeat(21), ts: 1 })).toString("base64");
    const unknown = await proceed(other, result);
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ error: "Execution not found or expired" });
    expect((await proceed(continuation_token, result)).status).toBe(200);
    expect((await proceed(continuation_token, result)).status).toBe(404);
  });

  it.each([
    ["no results", []],
    ["an id that was not issued", [{ call_id: "call_099", result: 1 }]],
    ["an id of another form", [{ call_id: "x", result: 1 }]],
    ["no result", [{ call_id: "call_001" }]],
    ["one twice", [1, 2].map((result) => ({ call_id: "call_001", result }))],
  ])("results are refused with 400 and the program waits on: %s", async (_, results) => {
    const { continuation_token } = await start("print(await t())");
    expect((await proceed(continuation_token, results)).status).toBe(400);
    const reply = await (await proceed(continuation_token, [{ call_id: "call_001", result: "ok" }])).json();
    expect(reply).toMatchObject({ status: "completed", stdout: "ok\n" });
  });

  it.each([
    ["no code", { tools }, "Missing required field: code"],
    ["no tools", { code: "1" }, "Missing required field: tools (must be a non-empty array)"],
    ["empty tools", { code: "1", tools: [] }, "Missing required field: tools (must be a non-empty array)"],
    [
      "101 tools",
      { code: "1", tools: Array.from({ length: 101 }, (_, i) => ({ name: `t${i}` })) },
      "Too many tools provided (101). Maximum is 100.",
    ],
    [
      "another language",
      { code: "1", tools, lang: "js" },
      'Unsupported language "js"; supported values are "python" and "bash"',
    ],
    [
      "the reserved file",
      {
        code: "1",
        tools,
        files: [{ id: "a".repeat(21), session_id: "b".repeat(21), name: "_ptc_history.json" }],
      },
      'files[].name "_ptc_history.json" is reserved and cannot be supplied',
    ],
    [
      "colliding names in bash",
      { code: "1", lang: "bash", tools: [{ name: "a-b" }, { name: "a_b" }] },
      /normalize to the same function identifier "a_b"/,
    ],
  ])("400: %s", async (_, body, error) => {
    const response = await post(body);
    expect(response.status).toBe(400);
    const { error: said } = z.object({ error: z.string() }).parse(await response.json());
    if (typeof error === "string") expect(said).toBe(error);
    else expect(said).toMatch(error);
  });

  it("more than 10 MB of program is 413; an unknown file is 403", async () => {
    expect((await post({ code: "#".repeat(10_000_001), tools })).status).toBe(413);
    const files = [{ id: "a".repeat(21), session_id: "b".repeat(21), name: "x" }];
    expect((await post({ code: "1", tools, files })).status).toBe(403);
  });

  it("time waiting for tools does not count; the program's own time does", async () => {
    const LIMIT_MS = 3000;
    const first = Waiting.parse(
      await (await post({ code: "print(await t())\nwhile True: pass", tools, timeout: LIMIT_MS })).json(),
    );
    await new Promise((resolve) => setTimeout(resolve, LIMIT_MS * 1.25));
    const reply = await (
      await proceed(first.continuation_token, [{ call_id: "call_001", result: "in time" }])
    ).json();
    expect(reply).toMatchObject({ status: "error", error: "Time limit exceeded", stdout: "in time\n" });
  });
});

describe("a-3 cancelling", () => {
  const cancel = (requestId: string, user = ALICE) =>
    fetch(`${service.baseUrl}/exec/programmatic/cancel`, {
      method: "POST",
      headers: { "content-type": "application/json", ...service.authorization(user) },
      body: JSON.stringify({ request_id: requestId }),
    });
  const start = (requestId: string, code: string, signal?: AbortSignal) =>
    fetch(`${service.baseUrl}/exec/programmatic`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "X-LibreChat-Code-Request-ID": requestId,
        ...service.authorization(),
      },
      body: JSON.stringify({ code, tools: [{ name: "t" }] }),
      ...(signal === undefined ? {} : { signal }),
    });
  /** Sandboxes that run or have run code of somebody. */
  const used = async () => {
    const sandboxes = await service.launcher.list();
    return sandboxes.filter((sandbox) => sandbox.used && sandbox.ended === null).length;
  };
  // The sandboxes of the tests before are on their way out.
  beforeEach(() => expect.poll(used, { timeout: 30_000, interval: 50 }).toBe(0));

  /** Half of the time that a program has of its own, so that cancelling has done it. */
  const FREED_WITHIN_MS = 15_000;
  const freed = () => expect.poll(used, { timeout: FREED_WITHIN_MS, interval: 50 }).toBe(0);

  it("ends a waiting program: its token is gone and so is its sandbox", async () => {
    const requestId = randomUUID();
    const { continuation_token } = Waiting.parse(await (await start(requestId, "await t()")).json());
    expect(await used()).toBe(1);
    expect((await cancel(requestId, BOB)).status).toBe(403);
    const answer = await cancel(requestId);
    expect(answer.status).toBe(202);
    expect(await answer.json()).toEqual({ status: "cancellation_requested" });
    const response = await fetch(`${service.baseUrl}/exec/programmatic`, {
      method: "POST",
      headers: { "content-type": "application/json", ...service.authorization() },
      body: JSON.stringify({ continuation_token, tool_results: [{ call_id: "call_001", result: 1 }] }),
    });
    expect(response.status).toBe(404);
    await freed();
    const again = await cancel(requestId);
    expect(again.status).toBe(200);
    expect(await again.json()).toEqual({ status: "already_completed" });
  });

  it("ends a running program when the real client aborts", async () => {
    const { asked, context } = toolbox({ t: () => 1 });
    const controller = new AbortController();
    const running = python("await t()\nwhile True: pass", context, { signal: controller.signal });
    running.catch(() => {});
    await expect.poll(() => asked.length, { timeout: 30_000, interval: 50 }).toBe(1);
    expect(await used()).toBe(1);
    controller.abort();
    await freed();
    await expect(running).rejects.toThrow();
  });

  it("a request id is good once", async () => {
    const requestId = randomUUID();
    await start(requestId, "print(1)");
    expect((await start(requestId, "print(1)")).status).toBe(409);
  });

  it("may come first", async () => {
    const requestId = randomUUID();
    expect((await cancel(requestId)).status).toBe(202);
    expect((await start(requestId, "print(1)")).status).toBe(409);
  });

  it("a caller who hangs up frees the sandbox", async () => {
    const controller = new AbortController();
    const running = start(randomUUID(), "while True: pass", controller.signal);
    running.catch(() => {});
    await expect.poll(used, { timeout: 30_000, interval: 50 }).toBe(1);
    controller.abort();
    await freed();
    await expect(running).rejects.toThrow();
  });

  it.each([[{}], [{ request_id: 7 }], [{ request_id: "a b" }]])("400: %o", async (body) => {
    const response = await fetch(`${service.baseUrl}/exec/programmatic/cancel`, {
      method: "POST",
      headers: { "content-type": "application/json", ...service.authorization() },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(400);
  });
});
