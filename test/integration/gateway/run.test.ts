/** `POST /run` on the real engine, under gVisor: state, isolation as the engine shows it, and every way code can end. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { CHECKPOINT_RUNTIME_NAME, SHIPPED_SECCOMP_PROFILE } from "../../../gateway/host/isolation.ts";
import { RunResponse } from "../../../gateway/server/http/routes/run.ts";
import { type Stack, startStack } from "../../support/stack.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({
    checkpoints: "ready",
    env: { KERNELYARD_TIMEOUT_MS: "8000", KERNELYARD_POOL_SIZE: "0" },
  });
});

afterAll(async () => {
  await stack.stop();
});

const session = (name: string) => `${name}-${randomBytes(4).toString("hex")}`;

async function run(sessionId: string, code: string): Promise<z.infer<typeof RunResponse>> {
  const response = await stack.post("/run", { session_id: sessionId, code });
  const body: unknown = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  return RunResponse.parse(body);
}

describe("a session", () => {
  it("keeps variables between calls, in a container as the specification describes it", async () => {
    const id = session("state");
    await run(id, "import pandas as pd; df = pd.DataFrame({'a':[1,2]})");
    expect(await run(id, "print(df.a.sum())")).toEqual({ stdout: "3\n", stderr: "", exit_code: 0 });

    const [container, ...others] = await stack.containers("session");
    expect(others).toEqual([]);
    const inspected = await stack.docker.getContainer(container?.Id ?? "").inspect();
    expect(inspected.HostConfig).toMatchObject({
      // runsc itself, behind the script that restores and saves it.
      Runtime: CHECKPOINT_RUNTIME_NAME,
      Memory: 512 * 1024 * 1024,
      MemorySwap: 512 * 1024 * 1024,
      NanoCpus: 500_000_000,
      NetworkMode: "none",
      ReadonlyRootfs: true,
      AutoRemove: true,
      Privileged: false,
      CapDrop: ["ALL"],
    });
    expect(inspected.HostConfig.CapAdd ?? []).toEqual([]);
    const seccomp = inspected.HostConfig.SecurityOpt?.find((option: string) => option.startsWith("seccomp="));
    expect(JSON.parse(seccomp?.slice("seccomp=".length) ?? "null")).toEqual(
      JSON.parse(SHIPPED_SECCOMP_PROFILE),
    );
    expect(
      inspected.HostConfig.SecurityOpt?.some((option: string) => option.startsWith("no-new-privileges")),
    ).toBe(true);
    expect(inspected.Mounts.filter(({ Type }) => Type === "volume")).toMatchObject([
      { Name: `librechat_vol_${id}`, Destination: "/mnt/session_data", RW: true },
    ]);
    expect(inspected.Config.User).toMatch(/^10001(:10001)?$/);
  });

  it("keeps files when its kernel is gone, in one directory under two names", async () => {
    const id = session("files");
    await run(id, "open('/mnt/session_data/a.txt', 'w').write('kept')");
    const died = await run(id, "import os, signal; os.kill(1, signal.SIGKILL)");
    expect(died.stderr).toContain("files are kept");
    expect((await run(id, "print(open('/mnt/data/a.txt').read(), __import__('os').getcwd())")).stdout).toBe(
      "kept /mnt/session_data\n",
    );
  });

  it("is counted exactly by twenty parallel calls", async () => {
    const id = session("count");
    await run(id, "n = 0");
    await Promise.all(Array.from({ length: 20 }, () => run(id, "m = n; n = m + 1")));
    expect((await run(id, "print(n)")).stdout).toBe("20\n");
  });
});

describe("the gateway's process", () => {
  it("is not root, may not become it, and has no way to the engine", () => {
    const status = readFileSync(`/proc/${stack.gatewayPid}/status`, "utf8");
    const field = (name: string) =>
      new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1]?.split(/\s+/) ?? [];
    expect(field("Uid")).not.toContain("0");
    expect(field("Gid")).not.toContain("0");
    expect(field("Groups").filter(Boolean)).toHaveLength(1);
    expect(field("CapEff")).toEqual(["0000000000000000"]);
    expect(field("CapPrm")).toEqual(["0000000000000000"]);
    const socketPath = readSettings({}).dockerSocket;
    const mayWrite = (...as: string[]) => spawnSync("setpriv", [...as, "test", "-w", socketPath]).status;
    const [uid, gid] = [field("Uid")[0], field("Gid")[0]];
    expect(mayWrite(`--reuid=${uid}`, `--regid=${gid}`, `--groups=${field("Groups")[0]}`)).toBe(1);
    // The same question finds the socket open for root.
    expect(mayWrite("--clear-groups")).toBe(0);
  });
});

describe("whatever code does is a result, and the next call works", () => {
  const cases: [string, string, (reply: z.infer<typeof RunResponse>) => void][] = [
    [
      "raise",
      "raise ValueError('x')",
      (reply) => {
        expect(reply.exit_code).toBe(1);
        expect(reply.stderr).toContain("ValueError: x");
      },
    ],
    [
      "a syntax error",
      "def",
      (reply) => {
        expect(reply.exit_code).toBe(1);
        expect(reply.stderr).toContain("SyntaxError");
      },
    ],
    ["sys.exit(3)", "import sys; sys.exit(3)", (reply) => expect(reply.exit_code).toBe(3)],
    [
      "os._exit(4)",
      "import os; os._exit(4)",
      (reply) => {
        expect(reply.exit_code).toBe(4);
        expect(reply.stderr).toContain("variables are lost");
      },
    ],
    [
      "a segfault",
      "import ctypes; ctypes.string_at(0)",
      (reply) => {
        expect(reply.exit_code).toBe(139);
        expect(reply.stderr).toContain("SIGSEGV");
      },
    ],
    [
      "an endless loop",
      "while True: pass",
      (reply) => {
        expect(reply.exit_code).toBe(124);
        expect(reply.stderr).toContain("[sandbox] Time limit exceeded");
      },
    ],
    [
      "a loop that ignores interrupts",
      "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
      (reply) => {
        expect(reply.exit_code).toBe(124);
        expect(reply.stderr).toContain("variables are lost");
      },
    ],
    [
      "more memory than there is",
      "x = []\nwhile True: x.append(bytearray(32 << 20))",
      (reply) => {
        expect([1, 137]).toContain(reply.exit_code);
        expect(reply.stderr).toMatch(/MemoryError|Out of memory/);
      },
    ],
    [
      "10 MB of output",
      "print('x' * 10_000_000)",
      (reply) => {
        expect(reply.stdout.length).toBe(65_536);
        expect(reply.stderr).toContain("[sandbox] stdout length exceeded");
      },
    ],
    [
      "input()",
      "input()",
      (reply) => {
        expect(reply.exit_code).toBe(1);
        expect(reply.stderr).toContain("EOFError");
      },
    ],
    [
      "garbage on every descriptor",
      "import os\nfor fd in range(3, 4096):\n  try: os.write(fd, b'\\xff' * 4096)\n  except OSError: pass",
      (reply) => {
        expect(reply.exit_code).toBeTypeOf("number");
      },
    ],
    [
      "stopping its own supervisor",
      "import os, signal\nfor pid in (1, -1): os.kill(pid, signal.SIGSTOP)",
      (reply) => {
        expect(reply.exit_code).toBeTypeOf("number");
      },
    ],
  ];

  it.each(cases)(
    "%s",
    async (_what, code, check) => {
      const id = session("end");
      await run(id, "before = 1");
      check(await run(id, code));
      expect(await run(id, "print(6 * 7)")).toMatchObject({ stdout: "42\n", exit_code: 0 });
    },
    90_000,
  );
});

describe("many at once", () => {
  it("keeps ten sessions apart", async () => {
    const ids = Array.from({ length: 10 }, (_, i) => session(`p${i}`));
    for (const id of ids) await run(id, `mine = '${id}'; open('mine.txt', 'w').write(mine)`);
    const seen = await Promise.all(ids.map((id) => run(id, "print(mine, open('mine.txt').read())")));
    expect(seen.map(({ stdout }) => stdout)).toEqual(ids.map((id) => `${id} ${id}\n`));
  }, 240_000);
});
