/**
 * Habits of the real servers that their packages alone do not show: requests as LibreChat 0.8.8 and 0.8.4 were seen to
 * send them (wire forms recorded from the running servers; words and values are this file's own).
 */
import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { callTool, loadAgents, loadOldAgents } from "../support/librechat/clients.ts";
import { type Caller, download, run, type StoredFile, upload, uploadBatch } from "./support/files.ts";
import { ALICE, type Service, startService } from "./support/service.ts";

let service: Service;
/** A session gives way after this long. */
let hurried: Service;
const INTERRUPT_MS = 500;

beforeAll(async () => {
  service = await startService({ KERNELYARD_RATE_LIMITS: "on" }, { checkpoints: "ready" });
  hurried = await startService({
    KERNELYARD_BUSY_INTERRUPT_MS: String(INTERRUPT_MS),
    KERNELYARD_POOL_SIZE: "0",
  });
});
afterAll(async () => {
  await service?.stop();
  await hurried?.stop();
});

const USER = { kind: "user", id: ALICE.id } as const;
const newHint = () => `v2:conversation:${randomUUID().replaceAll("-", "")}`;
/** As agents and LibreChat's own helpers send requests of the second generation. */
const gen2 = (of: Service, profile = "default"): Caller => ({
  baseUrl: of.baseUrl,
  headers: {
    ...of.authorization(),
    "User-Agent": "LibreChat/1.0",
    "X-CodeAPI-Expected-Profile": profile,
  },
  userId: ALICE.id,
});
const gen1 = (): Caller => ({
  baseUrl: service.baseUrl,
  headers: { "X-API-Key": service.apiKey, "User-Agent": "LibreChat/1.0" },
  userId: ALICE.id,
});
const ref2 = (file: StoredFile) => ({ ...file, kind: "user", resource_id: ALICE.id });
const ref1 = ({ id, storage_session_id, name }: StoredFile) => ({ id, session_id: storage_session_id, name });
/** What the factory of LibreChat's tools leaves in every body. */
const TOOL = { user_id: ALICE.id, codeSessionKey: "execute_code", executionRouteKey: "default" };

describe("two inputs with one name", () => {
  /** Stored one after the other, and sent in both orders. */
  async function both(store: (content: string) => Promise<StoredFile>) {
    const older = await store("old");
    const newer = await store("new");
    return {
      older,
      orders: [
        [older, newer],
        [newer, older],
      ],
    };
  }

  it("0.8.8 sends the newest first: the newest stored one is used, one line names the other", async () => {
    const caller = gen2(service);
    const { older, orders } = await both((content) => upload(caller, USER, { name: "sales.csv", content }));
    for (const order of orders) {
      const files = order.map(ref2);
      const reply = await run(caller, { ...TOOL, lang: "bash", code: "cat sales.csv", files });
      expect(reply.stdout).toBe("new");
      expect(reply.stderr).toMatch(/^\n\[sandbox\] sales\.csv was sent 2 times: .*\n$/);
      expect(reply.stderr).toContain(`not ${older.id} of `);
    }
  });

  it("0.8.4 sends them in any order", async () => {
    const caller = gen1();
    const name = "sales.csv";
    const { orders } = await both((content) => upload(caller, { entityId: null }, { name, content }));
    for (const order of orders) {
      const tool = loadOldAgents(service.baseUrl).createCodeExecutionTool({
        apiKey: service.apiKey,
        user_id: ALICE.id,
        files: order.map(ref1),
      });
      const { content } = await callTool(tool, "execute_code", {
        lang: "py",
        code: "print(open('sales.csv').read())",
      });
      expect(content).toContain("stdout:\nnew\n");
      expect(content).toContain("[sandbox] sales.csv was sent 2 times");
    }
  });

  it("what code made of an upload is newer than the upload", async () => {
    const caller = gen2(service);
    const original = await upload(caller, USER, { name: "notes.txt", content: "one" });
    const append = { ...TOOL, lang: "bash", code: "echo ' two' >> notes.txt", files: [ref2(original)] };
    const { session_id, files } = await run(caller, append);
    const changed = { id: files[0]?.id ?? "", storage_session_id: session_id, name: "notes.txt" };
    for (const order of [
      [changed, original],
      [original, changed],
    ]) {
      const read = { ...TOOL, lang: "bash", code: "cat notes.txt", files: order.map(ref2) };
      expect((await run(caller, read)).stdout).toBe("one two\n");
    }
  });

  it("LibreChat's own read of an empty file hears nothing of it: it would take that for a failure", async () => {
    const caller = gen2(service);
    const { orders } = await both(() => upload(caller, USER, { name: "empty.txt", content: "" }));
    // Helpers send no user.
    const read = { lang: "bash", code: "cat '/mnt/data/empty.txt'", files: (orders[0] ?? []).map(ref2) };
    expect(await run(caller, read)).toMatchObject({ stdout: "", stderr: "" });
  });
});

describe("a message after the first, in generation 1", () => {
  it("gets no unchanged inputs back: 0.8.4 would attach them to the message once more", async () => {
    const caller = gen1();
    const file = await upload(caller, { entityId: "agent_1" }, { name: "in.txt", content: "gen1" });
    const follow = { ...TOOL, lang: "bash", files: [ref1(file)] };
    const read = await run(caller, { ...follow, code: "cat in.txt" });
    expect(read).toMatchObject({ stdout: "gen1", stderr: "", files: [] });
    // The execution's own listing still shows it: older clients run with a whole listing.
    const listing = await fetch(`${caller.baseUrl}/files/${read.session_id}?detail=full`, caller);
    expect(await listing.json()).toMatchObject([{ id: file.id }]);

    const changed = await run(caller, { ...follow, code: "echo more >> in.txt; echo made > out.txt" });
    expect(changed.files.map(({ name }) => name).sort()).toEqual(["in.txt", "out.txt"]);
    expect(changed.files.filter(({ inherited }) => inherited === true)).toEqual([]);
  });
});

describe("limits that fit", () => {
  /** One window, in the reader's own words: where it starts, how long it is, and a line of JSON back. */
  const windowOf = (path: string, offset: number, length: number) =>
    [
      "python3 - <<'PY'",
      "import base64, json",
      `with open(${JSON.stringify(path)}, 'rb') as image:`,
      `    image.seek(${offset})`,
      `    part = image.read(${length})`,
      "print(json.dumps({'n': len(part), 'b64': base64.b64encode(part).decode()}))",
      "PY",
    ].join("\n");
  const Window = z.object({ n: z.number(), b64: z.string() });

  it("an image is read in 30 windows in a row, and the user's own calls follow, without a refusal", async () => {
    const caller = gen2(service, "stateful");
    const image = randomBytes(30 * 32 * 1024 - 100);
    const file = await upload(caller, USER, { name: "photo.png", content: image });
    const session = { runtime_session_hint: newHint(), files: [ref2(file)] };
    const parts: Buffer[] = [];
    for (let offset = 0; offset < image.length; offset += 32 * 1024) {
      const code = windowOf("/mnt/data/photo.png", offset, 32 * 1024);
      const { stdout, stderr, status } = await run(caller, { lang: "bash", code, ...session });
      expect([stderr, status]).toEqual(["", null]);
      parts.push(Buffer.from(Window.parse(JSON.parse(stdout)).b64, "base64"));
    }
    expect(parts).toHaveLength(30);
    expect(Buffer.concat(parts).equals(image)).toBe(true);
    const own = Array.from({ length: 20 }, (_, i) => ({ code: `echo ${i}`, printed: `${i}\n` }));
    const replies = own.map(({ code }) => run(caller, { ...TOOL, lang: "bash", code, ...session }));
    expect((await Promise.all(replies)).map(({ stdout }) => stdout)).toEqual(
      own.map(({ printed }) => printed),
    );
  });

  it("a message with thirty skills uploads each of them", async () => {
    const uploads = Array.from({ length: 30 }, (_, i) =>
      uploadBatch(gen2(service), { kind: "skill", id: `skill-${i}`, version: 1, readOnly: true }, [
        { name: `skills/s${i}/SKILL.md`, content: "# skill" },
        { name: `skills/s${i}/run.py`, content: "print(1)" },
      ]),
    );
    for (const stored of await Promise.all(uploads)) expect(stored).toHaveLength(2);
  });

  it("a call may take as long as the reference lets it, and is told how long that was", async () => {
    const late = await run(gen2(service), { ...TOOL, lang: "bash", code: "sleep 60", timeout: 1200 });
    expect(late).toMatchObject({ status: "TO", message: "Time limit exceeded" });
    expect(late.stderr).toBe(
      "\n[sandbox] Time limit exceeded\n\n[sandbox] The time limit of this call was 1.2 s.\n",
    );
  });
});

describe("a prewarm", () => {
  const prewarm = (caller: Caller, hint: string) =>
    run(caller, { lang: "bash", code: "true", runtime_session_hint: hint });

  it("and the message's first call at the same time make one session", async () => {
    const caller = gen2(service, "stateful");
    const hint = newHint();
    const call = { ...TOOL, lang: "bash", code: "echo $((1 + 1))", runtime_session_hint: hint };
    const [warm, first] = await Promise.all([prewarm(caller, hint), run(caller, call)]);
    expect(first.stdout).toBe("2\n");
    // On a busy machine a sandbox takes longer than the wait that nobody is told of.
    expect(first.stderr).toMatch(
      /^(\n\[sandbox\] This call waited \S+ s for an earlier call of its session\.\n)?$/,
    );
    expect([warm.runtime_status, first.runtime_status].sort()).toEqual(["new", "reused"]);
    expect(warm.runtime_session_id).toBe(first.runtime_session_id);
  });

  it("beside a call waits for it, and never interrupts it, whatever the setting says", async () => {
    const caller = gen2(hurried, "stateful");
    const hint = newHint();
    await prewarm(caller, hint);
    const code = `sleep ${(4 * INTERRUPT_MS) / 1000}; echo slept`;
    const [slept, warm] = await Promise.all([
      run(caller, { ...TOOL, lang: "bash", code, runtime_session_hint: hint }),
      prewarm(caller, hint),
    ]);
    expect(slept).toMatchObject({ stdout: "slept\n", stderr: "", status: null });
    expect(warm).toMatchObject({ stdout: "", stderr: "", runtime_status: "reused" });
  });
});

describe("Stop, which does not hang up, and the next message", () => {
  /** The call has begun: it holds its session. */
  const begun = async (of: Service, hint: string, code: string) => {
    const caller = gen2(of, "stateful");
    await run(caller, { ...TOOL, lang: "py", code: "x = 41", runtime_session_hint: hint });
    const stopped = run(caller, { ...TOOL, lang: "py", code, runtime_session_hint: hint });
    return { caller, stopped };
  };
  const next = { ...TOOL, lang: "py", code: "print(x + 1)" };

  it("the next call waits, has its variables, and is told that it waited", async () => {
    const hint = newHint();
    const { caller, stopped } = await begun(service, hint, "import time; time.sleep(7)");
    const answer = await run(caller, { ...next, runtime_session_hint: hint });
    expect(answer.stdout).toBe("42\n");
    expect(answer.stderr).toMatch(
      /^\n\[sandbox\] This call waited \d(\.\d)? s for an earlier call of its session\.\n$/,
    );
    expect((await stopped).status).toBeNull();
  });

  it.each([
    ["Python", "py", "import time\nwhile True: time.sleep(0.1)"],
    ["Bash", "bash", "echo begun; sleep 100"],
  ])("or interrupts it where the setting says so, and keeps the variables: %s", async (_, lang, code) => {
    const hint = newHint();
    const caller = gen2(hurried, "stateful");
    await run(caller, { ...TOOL, lang: "py", code: "x = 41", runtime_session_hint: hint });
    const stopped = run(caller, { ...TOOL, lang, code, runtime_session_hint: hint });
    const answer = await run(caller, { ...next, runtime_session_hint: hint });
    expect(answer).toMatchObject({ stdout: "42\n", stderr: "", runtime_status: "reused" });
    expect((await stopped).stderr).toContain(
      "[sandbox] Interrupted\n\n[sandbox] Another call of this session waited",
    );
  });

  it("code that cannot be interrupted costs the variables, and the next call hears of it", async () => {
    const hint = newHint();
    const stubborn =
      "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nopen('kept.txt', 'w').write('kept')\nwhile True: pass";
    const { caller, stopped } = await begun(hurried, hint, stubborn);
    const look = { ...TOOL, lang: "py", code: "print('x' in globals(), open('kept.txt').read())" };
    const answer = await run(caller, { ...look, runtime_session_hint: hint });
    expect(answer.stdout).toBe("False kept\n");
    expect(answer.stderr).toContain("gave way and did not stop when interrupted: variables are lost");
    expect((await stopped).stderr).toContain("[sandbox] Interrupted");
  });
});

describe("mixed profiles", () => {
  it("serves both on one base: files go from one to the other, and every answer says its profile", async () => {
    const [plain, session] = [gen2(service), gen2(service, "stateful")];
    const file = await upload(session, USER, { name: "shared.txt", content: "shared" });
    const hint = newHint();
    const post = (caller: Caller, path: string, body: object) =>
      fetch(`${caller.baseUrl}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...caller.headers },
        body: JSON.stringify(body),
      });
    const body = { ...TOOL, lang: "bash", code: "cat shared.txt", files: [ref2(file)] };
    // One after the other: two calls with the same hint would wait for each other, and be told so.
    const answers = [
      await post(plain, "/exec", body),
      await post(session, "/exec", { ...body, runtime_session_hint: hint }),
      await post(plain, "/exec", { ...body, runtime_session_hint: hint }),
    ];
    expect(answers.map(({ headers }) => headers.get("X-CodeAPI-Execution-Profile"))).toEqual([
      "default",
      "stateful",
      "default",
    ]);
    for (const answer of answers) expect(await answer.json()).toMatchObject({ stdout: "shared", stderr: "" });

    const made = await run(session, {
      ...TOOL,
      lang: "bash",
      code: "echo made > made.txt",
      runtime_session_hint: hint,
    });
    const output = { id: made.files[0]?.id ?? "", storage_session_id: made.session_id, name: "made.txt" };
    const query = `?kind=user&id=${ALICE.id}`;
    expect((await download(plain, output, query)).bytes.toString()).toBe("made\n");
    const read = { ...TOOL, lang: "bash", code: "cat made.txt; ls", files: [ref2(output)] };
    expect((await run(plain, read)).stdout).toBe("made\nmade.txt\n");
  });
});

describe("outputs left behind", () => {
  const Truncation = z.object({
    code: z.literal("artifact_truncated"),
    reasons: z.partialRecord(
      z.enum(["max_files", "depth", "size", "path", "unreadable"]),
      z.number().int().nonnegative(),
    ),
    skipped: z.array(z.string()).max(20),
    skipped_count: z.number().int().positive(),
  });
  /** As agents 3.9.3 takes it; it drops the marker unless the reasons add up. */
  function accepted(value: unknown) {
    const marker = Truncation.parse(value);
    const sum = Object.values(marker.reasons).reduce((total, count) => total + (count ?? 0), 0);
    expect(sum).toBe(marker.skipped_count);
    expect(marker.skipped.length).toBe(Math.min(20, marker.skipped_count));
    return marker;
  }
  const CODE = [
    "import os",
    "os.makedirs('d/' * 40)",
    "open('d/' * 40 + 'deep.txt', 'w').close()",
    "os.mkdir('shut'); open('shut/in.txt', 'w').close(); os.chmod('shut', 0)",
    "open(b'odd-\\xff.txt', 'w').close()",
    "for i in range(400): open(f'out{i:03}.csv', 'w').write(str(i))",
  ].join("\n");
  const REASONS = { max_files: 350, depth: 1, path: 1, unreadable: 1 };

  it("are said by /exec, with sums that are exact", async () => {
    const reply = await run(gen2(service), { ...TOOL, lang: "py", code: CODE });
    expect(reply.files).toHaveLength(50);
    expect(accepted(reply.artifact_truncation)).toMatchObject({ reasons: REASONS, skipped_count: 353 });
    expect(reply.artifact_delivery).toMatchObject({ attempted: 403, delivered: 50, failed: 353 });
  });

  it("are said by programs that call tools, however they end", async () => {
    const caller = gen2(service);
    const tools = [{ name: "look", description: "d", parameters: { type: "object", properties: {} } }];
    for (const [end, status] of [
      ["print('end')", "completed"],
      ["raise SystemExit(3)", "error"],
    ] as const) {
      const response = await fetch(`${caller.baseUrl}/exec/programmatic`, {
        method: "POST",
        headers: { "content-type": "application/json", ...caller.headers },
        body: JSON.stringify({ code: `${CODE}\n${end}`, tools, timeout: 60_000 }),
      });
      const reply: unknown = await response.json();
      expect(reply).toMatchObject({ status, artifact_truncation: expect.anything() });
      const { artifact_truncation } = z.looseObject({ artifact_truncation: z.unknown() }).parse(reply);
      expect(accepted(artifact_truncation)).toMatchObject({ reasons: REASONS });
    }
  });

  it("are nothing to speak of where there are none", async () => {
    const reply = await run(gen2(service), {
      ...TOOL,
      lang: "bash",
      code: "echo x > one.txt; ln -s one.txt two",
    });
    expect(reply.artifact_truncation).toBeUndefined();
    expect(reply.artifact_delivery).toBeUndefined();
  });
});

describe("what a program sees of where it is", () => {
  it("/exec starts in /mnt/data, in a sandbox of its own and in a session, whatever the language", async () => {
    const python = "import os; print(os.getcwd(), os.path.samefile('/mnt/session_data', '.'))";
    const bash = `pwd -P; python3 -c "${python}"`;
    for (const session of [{}, { runtime_session_hint: newHint() }]) {
      const run2 = (lang: string, code: string) => run(gen2(service), { ...TOOL, lang, code, ...session });
      expect((await run2("py", python)).stdout).toBe("/mnt/data True\n");
      expect((await run2("bash", bash)).stdout).toBe("/mnt/data\n/mnt/data True\n");
    }
  });

  it("/run starts in /mnt/session_data", async () => {
    const { stack } = service;
    const name = `cwd-${randomUUID()}`;
    const code = "import os; print(os.getcwd(), os.path.samefile('/mnt/data', '.'))";
    const response = await stack.post("/run", { session_id: name, code });
    expect(await response.json()).toEqual({ stdout: "/mnt/session_data True\n", stderr: "", exit_code: 0 });
  });

  it("there is no third place beside the two names", async () => {
    const code = [
      "import os",
      "def try_it(path, size):",
      "    try: open(path, 'wb').write(bytes(size)); return 'written'",
      "    except OSError as error: return error.strerror",
      "print(sorted(os.listdir('/mnt')), try_it('/mnt/more', 1))",
      "os.chmod('/mnt', 0o755)",
      "print(try_it('/mnt/more', 1 << 20))",
    ].join("\n");
    const { stdout } = await run(gen2(service), { ...TOOL, lang: "py", code });
    expect(stdout).toBe("['data', 'session_data'] Permission denied\nNo space left on device\n");
  });

  it("bash errors carry no path of ours", async () => {
    const message = await callTool(
      loadAgents().createBashExecutionTool({
        baseUrl: service.baseUrl,
        authHeaders: async () => service.authorization(),
      }),
      "bash_tool",
      { command: "echo out\nno-such-command" },
    );
    expect(message.content).toBe("stdout:\nout\n\nstderr:\nbash: line 2: no-such-command: command not found");
  });
});
