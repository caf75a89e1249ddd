/** Stateful sessions: the same caller and hint have the same live kernel and the same `/mnt/data`. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callTool, loadAgents } from "../support/librechat/clients.ts";
import type { LibrechatUser } from "../support/librechat/tokens.ts";
import { ALICE, BOB, type Service, startService } from "./support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService(
    { KERNELYARD_TIMEOUT_MS: "4000", KERNELYARD_BUSY_WAIT_MS: "4000" },
    { checkpoints: "ready" },
  );
});
afterAll(() => service?.stop());

const newHint = () => `v2:conversation:${randomUUID().replaceAll("-", "")}`;

function stateful(hint: string, user: LibrechatUser = ALICE) {
  const params = {
    baseUrl: service.baseUrl,
    authHeaders: async () => service.authorization(user),
    statefulSessions: true,
    runtimeSessionHint: hint,
    executionProfile: "stateful",
  };
  const agents = loadAgents();
  const code = agents.createCodeExecutionTool(params);
  const bash = agents.createBashExecutionTool(params);
  return {
    py: (text: string) => callTool(code, "execute_code", { lang: "py", code: text }),
    bash: (command: string) => callTool(bash, "bash_tool", { command }),
  };
}

const exec = (body: object, user: LibrechatUser = ALICE) =>
  fetch(`${service.baseUrl}/exec`, {
    method: "POST",
    headers: { "content-type": "application/json", ...service.authorization(user) },
    body: JSON.stringify(body),
  });

describe("b-9 a stateful session", () => {
  it("keeps variables and files, and says truthfully whether it is new", async () => {
    const session = stateful(newHint());
    const first = await session.py("x = 41\nopen('/mnt/data/kept.txt','w').write('kept')");
    expect(first.artifact).toMatchObject({ runtime_status: "new", files: [{ name: "kept.txt" }] });
    const second = await session.py("print(x + 1, open('kept.txt').read())");
    expect(second.content).toContain("42 kept");
    expect(second.artifact).toMatchObject({
      runtime_status: "reused",
      runtime_session_id: first.artifact.runtime_session_id,
    });
    // What did not change is not told again.
    expect(second.artifact.files ?? []).toEqual([]);
  });

  it("is shared by the code tool and the bash tool", async () => {
    const session = stateful(newHint());
    await session.bash("echo from bash > note.txt");
    expect((await session.py("print(open('note.txt').read())")).content).toContain("from bash");
  });

  it("has figures of Python in bash as files of the call, once", async () => {
    const session = stateful(newHint());
    const plot = (rest: string) =>
      session.bash(`KERNELYARD_PYTHON=explain python3 - <<'PY'
import pandas, numpy, matplotlib.pyplot as plt
plt.plot(numpy.arange(3)); plt.show()
${rest}
PY`);
    const first = await plot("pandas.DataFrame({'a': [1, 2]}).plot.bar()");
    expect(first.content).not.toContain("interpreter itself");
    expect(first.artifact.files?.map((file) => file.name).sort()).toEqual(["plot_1.png", "plot_2.png"]);
    const second = await plot("print('said')");
    expect(second.content).toContain("said");
    expect(second.artifact.files?.map((file) => file.name)).toEqual(["plot_3.png"]);
    const cell = await session.py("import matplotlib.pyplot as plt; plt.plot([1]); plt.show()");
    expect(cell.artifact.files?.map((file) => file.name)).toEqual(["plot_4.png"]);
  });

  it("has a live kernel that bash reaches by the command `kernel`", async () => {
    const session = stateful(newHint());
    await session.bash("kernel <<'PY'\nimport pandas\ntable = pandas.DataFrame({'a': [40, 2]})\nPY");
    const later = await session.bash(
      "kernel 'print(table.a.sum())'; kernel 'import sys; sys.exit(3)'; echo $?",
    );
    expect(later.content).toContain("42\n3");
    expect((await session.py("len(table)")).content).toContain("2");
  });

  it("belongs to one user, whatever the hint", async () => {
    const hint = newHint();
    const alices = await stateful(hint, ALICE).py("secret = 1\nopen('s.txt','w').write('s')");
    const bobs = await stateful(hint, BOB).py("import os\nprint('secret' in globals(), os.listdir('.'))");
    expect(bobs.content).toContain("False []");
    expect(bobs.artifact.runtime_status).toBe("new");
    expect(bobs.artifact.runtime_session_id).not.toBe(alices.artifact.runtime_session_id);
    const elsewhere = await stateful(hint, { ...ALICE, tenant: "other" }).py("print('secret' in globals())");
    expect(elsewhere.content).toContain("False");
  });

  it("tells the model in one line of standard error that its variables are gone", async () => {
    const session = stateful(newHint());
    await session.py("x = 1; open('f.txt','w').write('f')");
    const killed = await session.py("import os, signal; os.kill(os.getpid(), signal.SIGKILL)");
    expect(killed.content).toMatch(/restarted|terminated|ended/i);
    const after = await session.py("print('x' in globals(), open('f.txt').read())");
    expect(after.content).toContain("False f");
  });

  it("c-16 prewarm: `true` in bash makes the next call find it", async () => {
    const hint = newHint();
    const response = await exec({ lang: "bash", code: "true", runtime_session_hint: hint });
    expect(await response.json()).toMatchObject({ runtime_status: "new", stdout: "", stderr: "" });
    expect((await stateful(hint).py("print(1)")).artifact.runtime_status).toBe("reused");
  });

  it("a-1 busy for longer than the bounded wait: 409, which the client may retry", async () => {
    const hint = newHint();
    await exec({ lang: "bash", code: "true", runtime_session_hint: hint });
    const sleep = { lang: "py", code: "import time; time.sleep(15)", timeout: 25_000 };
    const long = exec({ ...sleep, runtime_session_hint: hint });
    // The long call has its turn before the next one asks.
    await expect
      .poll(async () => (await exec({ lang: "bash", code: "true", runtime_session_hint: hint })).status, {
        timeout: 20_000,
        interval: 1,
      })
      .toBe(409);
    await expect(stateful(hint).py("print(1)")).rejects.toMatchObject({ retryable: true });
    expect((await long).status).toBe(200);
  });

  it("calls that come within the wait go one after another", async () => {
    const session = stateful(newHint());
    await session.py("order = []");
    await Promise.all([1, 2, 3, 4].map((i) => session.py(`order.append(${i})`)));
    expect((await session.py("print(len(order), sorted(order))")).content).toContain("4 [1, 2, 3, 4]");
  });
});

describe("b-10 programs that call tools", () => {
  it("never take the session's kernel, so that it serves other calls meanwhile", async () => {
    const hint = newHint();
    await stateful(hint).py("x = 1");
    const tool = loadAgents().createProgrammaticToolCallingTool({
      baseUrl: service.baseUrl,
      authHeaders: async () => service.authorization(),
      runtimeSessionHint: hint,
      executionProfile: "stateful",
    });
    let meanwhile = "";
    const toolMap = new Map([
      [
        "t",
        {
          name: "t",
          schema: { type: "object" },
          invoke: async () => {
            meanwhile = (await stateful(hint).py("print(x)")).content;
            return "done";
          },
        },
      ],
    ]);
    const toolDefs = [{ name: "t", description: "d", parameters: { type: "object", properties: {} } }];
    const message = await callTool(
      tool,
      "run_tools_with_code",
      { code: "print('x' in globals(), await t())" },
      { toolMap, toolDefs },
    );
    expect(message.content).toContain("False done");
    expect(meanwhile).toContain("1");
  });
});
