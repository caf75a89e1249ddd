/** `/exec` as both generations of the client call it. Statements are numbered as in the project's notes of the contract. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { callTool, loadAgents, loadOldAgents } from "../support/librechat/clients.ts";
import { ALICE, type Service, startService } from "./support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({}, { checkpoints: "ready" });
});
afterAll(() => service?.stop());

const params = (extra: object = {}) => ({
  baseUrl: service.baseUrl,
  user_id: ALICE.id,
  authHeaders: async () => service.authorization(),
  executionProfile: "default",
  files: [],
  // LibreChat's factory leaves these in the body.
  codeSessionKey: "execute_code",
  executionRouteKey: "default",
  ...extra,
});
const code = (lang: string, text: string, args?: readonly string[]) =>
  callTool(loadAgents().createCodeExecutionTool(params()), "execute_code", {
    lang,
    code: text,
    ...(args === undefined ? {} : { args }),
  });
const bash = (command: string, args?: readonly string[]) =>
  callTool(loadAgents().createBashExecutionTool(params()), "bash_tool", {
    command,
    ...(args === undefined ? {} : { args }),
  });

const Reply = z.looseObject({
  session_id: z.string(),
  stdout: z.string(),
  stderr: z.string(),
  files: z.array(z.looseObject({ id: z.string(), name: z.string() })),
  code: z.number().nullable(),
  signal: z.string().nullable(),
  message: z.string().nullable(),
  status: z.string().nullable(),
  wall_time: z.number(),
});
const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${service.stack.baseUrl}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...service.authorization(), ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
async function exec(body: object): Promise<z.infer<typeof Reply>> {
  const response = await post("/v1/exec", body);
  expect(response.status).toBe(200);
  return Reply.parse(await response.json());
}

describe("execute_code of agents 3.9.2", () => {
  it("b-1 shows what was printed, and keeps the session", async () => {
    const message = await code("py", "print('héllo 日本')");
    expect(message.content).toBe("stdout:\nhéllo 日本");
    expect(message.artifact.session_id).toMatch(/^[A-Za-z0-9_-]{21}$/);
  });

  it("a-1 args arrive as argv", async () => {
    expect((await code("py", "import sys; print(sys.argv[1:])", ["a", "b c"])).content).toBe(
      "stdout:\n['a', 'b c']",
    );
    expect((await bash("echo $1-$2", ["x", "y z"])).content).toContain("x-y z");
  });

  it("c-2 what the code did wrong reaches the model: errors, exit codes, syntax", async () => {
    expect((await code("py", "1/0")).content).toContain("ZeroDivisionError");
    expect((await code("py", "def")).content).toContain("SyntaxError");
    expect((await code("bash", "echo out; echo err >&2; exit 3")).content).toBe(
      "stdout:\nout\n\nstderr:\nerr",
    );
  });

  it("c-9 standard output is passed on as it was printed", async () => {
    expect((await exec({ lang: "py", code: "print('a', end='')" })).stdout).toBe("a");
    expect((await exec({ lang: "bash", code: "printf 'a\\n\\n'" })).stdout).toBe("a\n\n");
    expect((await code("py", "x = 1")).content).toContain("stdout: Empty");
  });

  it("b-2 new files are listed in the session of the execution", async () => {
    const { artifact, content } = await code("py", "open('r.csv','w').write('a,b\\n')");
    expect(artifact.files).toMatchObject([{ name: "r.csv", storage_session_id: artifact.session_id }]);
    expect(content).toContain("Generated files:");
  });

  it('c-1 a language that the image has not: the person who pressed "run code" is told, others get 400', async () => {
    const { content } = await code("rs", "fn main() {}");
    expect(content).toContain("stderr:\nRust is not in this sandbox's image, which has Python, Bash.");
    expect(content).toContain("profile `polyglot` has it");
    const body = { lang: "rs", code: "fn main() {}", user_id: ALICE.id };
    const shown = await post("/v1/exec", body, { "User-Agent": "LibreChat/1.0" });
    expect([shown.status, await shown.json()]).toMatchObject([200, { code: 127, status: null, stdout: "" }]);
    const refused = await post("/v1/exec", { ...body, lang: "cobol" }, { "User-Agent": "LibreChat/1.0" });
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: "Unsupported language: cobol" },
    ]);
    const script = await post("/v1/exec", { lang: "rs", code: "fn main() {}" });
    expect([script.status, await script.json()]).toMatchObject([400, { error: "Unsupported language: rs" }]);
  });

  it("c-1 names that people use are understood in any case", async () => {
    for (const lang of ["python", "Py", "PYTHON3"]) {
      expect((await exec({ lang, code: "print(1)" })).stdout).toBe("1\n");
    }
  });

  it("c-22 bash has python3 and jq", async () => {
    const { content } = await bash(`python3 -c 'print(6*7)'; echo '{"a":[1]}' | jq -c .a`);
    expect(content).toBe("stdout:\n42\n[1]");
  });

  it("b-12 the wrapped form of a program without tools runs", async () => {
    const tool = loadAgents().createProgrammaticToolCallingTool(params());
    const message = await callTool(
      tool,
      "run_tools_with_code",
      { code: "import asyncio\nawait asyncio.sleep(0)\nprint('awaited')", tool_manifest: [] },
      { toolDefs: [], toolMap: new Map() },
    );
    expect(message.content).toBe("stdout:\nawaited");
  });
});

describe("execute_code of agents 3.0.50", () => {
  it("a-0 answers to a key, with two slashes and with secrets in the body", async () => {
    const tool = loadOldAgents(`${service.baseUrl}/`).createCodeExecutionTool({
      apiKey: service.apiKey,
      LIBRECHAT_CODE_API_KEY: service.apiKey,
      user_id: ALICE.id,
      files: [],
    });
    const message = await callTool(tool, "execute_code", {
      lang: "py",
      code: "open('out.txt','w').write('1'); print('gen1')",
    });
    expect(message.content).toContain("stdout:\ngen1\n");
    expect(message.content).toContain("- /mnt/data/out.txt");
    expect(message.content).toContain(`session_id: ${message.artifact.session_id}`);
    expect(service.stack.gateway.lines.join("\n")).not.toContain(service.apiKey);
  });
});

describe("replies of /exec", () => {
  it("a-1 have the reference's shape and always a new session", async () => {
    const first = await exec({ lang: "py", code: "print(1)" });
    expect(first).toMatchObject({
      files: [],
      stderr: "",
      code: 0,
      signal: null,
      message: null,
      status: null,
    });
    expect((await exec({ lang: "py", code: "print(1)" })).session_id).not.toBe(first.session_id);
  });

  it("a-1 unknown fields are ignored, `/` and `/v1` and doubled slashes are the same", async () => {
    const body = { lang: "py", code: "print(7)", session_id: "whatever", user_id: "x", unknown: { a: 1 } };
    for (const path of ["/exec", "/v1/exec", "//exec", "/v1//exec"]) {
      const response = await post(path, body);
      expect(Reply.parse(await response.json()).stdout).toBe("7\n");
    }
  });

  it("a-1 time limit: TO", async () => {
    const reply = await exec({ lang: "py", code: "print('before')\nwhile True: pass", timeout: 2000 });
    expect(reply).toMatchObject({
      stdout: "before\n",
      status: "TO",
      signal: "SIGKILL",
      message: "Time limit exceeded",
      code: null,
    });
    expect(reply.stderr).toContain("\n[sandbox] Time limit exceeded\n");
    expect(reply.wall_time).toBeGreaterThanOrEqual(1900);
  });

  it("a-1 standard output over its limit: OL, cut at the limit in UTF-16 units", async () => {
    const reply = await exec({ lang: "py", code: "while True: print('😀' * 1000)" });
    expect(reply).toMatchObject({ status: "OL", message: "stdout length exceeded" });
    expect(reply.stdout.length).toBeLessThanOrEqual(65_536);
    expect(reply.stdout.length).toBeGreaterThan(65_000);
    expect(reply.stderr).toContain("\n[sandbox] stdout length exceeded\n");
  });

  it("c-16 64 KiB of standard output arrive whole", async () => {
    const reply = await exec({ lang: "bash", code: "head -c 65536 /dev/zero | tr '\\0' x" });
    expect(reply).toMatchObject({ status: null, code: 0 });
    expect(reply.stdout).toBe("x".repeat(65_536));
  });

  it("a-1 standard error over its limit is only cut", async () => {
    const reply = await exec({
      lang: "py",
      code: "import sys\nfor _ in range(300): sys.stderr.write('e' * 1000)\nprint('done')",
    });
    expect(reply).toMatchObject({ status: null, stdout: "done\n", code: 0 });
    expect(reply.stderr.length).toBeLessThan(70_000);
  });

  it("a-1 memory over its limit: SG", async () => {
    const reply = await exec({
      lang: "py",
      code: "x = bytearray(3 << 30)\nfor i in range(0, 3 << 30, 4096): x[i] = 1",
    });
    expect(reply.stdout).toBe("");
    expect([reply.status, reply.stderr.includes("MemoryError")]).toSatisfy(
      ([status, raised]) => status === "SG" || raised === true,
    );
  });

  it("c-6 outputs of failed and of timed-out code are kept", async () => {
    const failed = await exec({ lang: "py", code: "open('a.txt','w').write('1'); raise SystemExit(3)" });
    expect(failed).toMatchObject({ code: 3, files: [{ name: "a.txt" }] });
    const late = await exec({
      lang: "py",
      code: "open('b.txt','w').write('1')\nwhile True: pass",
      timeout: 2000,
    });
    expect(late).toMatchObject({ status: "TO", files: [{ name: "b.txt" }] });
  });

  it("c-24 open figures become plot_N.png", async () => {
    const reply = await exec({
      lang: "py",
      code: "import matplotlib.pyplot as plt\nplt.plot([1,2]); plt.show()\nplt.figure(); plt.plot([3])",
    });
    expect(reply.files.map(({ name }) => name).sort()).toEqual(["plot_1.png", "plot_2.png"]);
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["no lang", { code: "1" }],
    ["no code", { lang: "py" }],
    ["args that are no array", { lang: "py", code: "1", args: "a" }],
    [
      "a wrong file reference",
      { lang: "py", code: "1", files: [{ id: "../x", name: "a", session_id: "b" }] },
    ],
    ["c-15 a hint with a slash", { lang: "py", code: "1", runtime_session_hint: "a/b" }],
    ["c-15 a long hint", { lang: "py", code: "1", runtime_session_hint: "a".repeat(129) }],
  ])("a-1 400 says what is wrong: %s", async (_, body) => {
    const response = await post("/v1/exec", body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: expect.any(String), message: expect.any(String) });
  });
});

describe("a caller who hangs up", () => {
  const used = async () =>
    (await service.launcher.list()).filter((sandbox) => sandbox.used && sandbox.ended === null).length;

  it("frees the sandbox, long before the code's own time is over", async () => {
    await expect.poll(used, { timeout: 30_000, interval: 50 }).toBe(0);
    const controller = new AbortController();
    const running = fetch(`${service.baseUrl}/exec`, {
      method: "POST",
      headers: { "content-type": "application/json", ...service.authorization() },
      body: JSON.stringify({ lang: "py", code: "while True: pass", timeout: 120_000 }),
      signal: controller.signal,
    });
    running.catch(() => {});
    await expect.poll(used, { timeout: 30_000, interval: 50 }).toBe(1);
    controller.abort();
    await expect.poll(used, { timeout: 15_000, interval: 50 }).toBe(0);
    await expect(running).rejects.toThrow();
  });
});

describe("a-12 execution profiles", () => {
  const withProfile = (profile: string) =>
    post("/v1/exec", { lang: "bash", code: "true" }, { "X-CodeAPI-Expected-Profile": profile });

  it.each(["default", "stateful"])("%s is served and echoed", async (profile) => {
    const response = await withProfile(profile);
    expect(response.status).toBe(200);
    expect(response.headers.get("X-CodeAPI-Execution-Profile")).toBe(profile);
  });

  it("another one is 400 and says which", async () => {
    const response = await withProfile("turbo");
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: "invalid_execution_profile",
      expected_profile: "turbo",
      actual_profile: expect.any(String),
    });
  });
});

describe("b-8 read and write helpers", () => {
  it("read_file: standard output is exactly the file", async () => {
    const text = "línea 1\n\ttab\n日本 \u{1F600}\nlast without newline";
    const write = await exec({ lang: "py", code: `open('f.txt','w').write(${JSON.stringify(text)})` });
    const [file] = write.files;
    const read = await exec({
      lang: "bash",
      code: "cat '/mnt/data/f.txt'",
      session_id: write.session_id,
      files: [file],
    });
    expect(read).toMatchObject({ stdout: text, stderr: "", status: null });
  });

  it("read_file: a missing file is told in the usual words, with nothing on standard output", async () => {
    const read = await exec({ lang: "bash", code: "cat '/mnt/data/missing.txt'" });
    expect(read.stdout).toBe("");
    expect(read.stderr).toContain("No such file or directory");
  });

  it("writes: a heredoc into python3", async () => {
    const reply = await exec({
      lang: "bash",
      code: "python3 - <<'PY'\nopen('/mnt/data/w.txt','w').write('written')\nPY",
    });
    expect(reply).toMatchObject({ code: 0, stderr: "", files: [{ name: "w.txt" }] });
  });

  it("image reads: windows of base64 fit below the limit, a larger one is OL", async () => {
    const window = (bytes: number) =>
      exec({
        lang: "bash",
        code: `python3 -c "import base64,json; print(json.dumps({'data': base64.b64encode(bytes(${bytes})).decode()}))"`,
      });
    expect((await window(45_000)).status).toBeNull();
    expect((await window(60_000)).status).toBe("OL");
  });
});
