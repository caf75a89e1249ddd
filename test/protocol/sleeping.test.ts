/** What the supervisor does before it is saved and after it was restored, here without either: it is one process all along. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { makeSandboxPrograms } from "./sandbox-programs.ts";
import { python, RULES, Supervised } from "./supervised.ts";

const MIB = 1024 * 1024;

async function sleep(sandbox: Supervised, template: boolean): Promise<string> {
  sandbox.send({ msg_type: "sleep_request", msg_id: "sleep", content: { template } });
  const { message } = await sandbox.next();
  if (message.msg_type !== "sleep_reply") throw new Error(`expected sleep_reply, got ${message.msg_type}`);
  return message.content.status;
}

async function wake(sandbox: Supervised, fresh: boolean, memory = 512 * MIB): Promise<void> {
  sandbox.send({
    msg_type: "woken_request",
    msg_id: "woken",
    content: { fresh, memory_bytes: memory },
  });
  const { message } = await sandbox.next();
  expect(message).toEqual({ msg_type: "woken_reply", parent_id: "woken" });
}

/** Everything that runs below the supervisor. */
function below(pid: number | undefined): number[] {
  const parents = readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const [, parent] = readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      return [[Number(name), Number(parent)] as const];
    } catch {
      return [];
    }
  });
  const found = new Set([pid]);
  for (let size = 0; size < found.size; ) {
    size = found.size;
    for (const [child, parent] of parents) if (found.has(parent)) found.add(child);
  }
  return [...found].filter((one) => one !== undefined && one !== pid).map(Number);
}

const programs = await makeSandboxPrograms(python);
afterAll(() => programs.remove());

test("at rest nothing is left of what was made ahead; woken, or disturbed, it is made again", async () => {
  await using sandbox = new Supervised({ programs, preload: ["numpy"] });
  await sandbox.hello();
  const all = () => below(sandbox.process.pid).length;
  // The template, the light one, a fork that waits, a shell that waits.
  await vi.waitFor(() => expect(all()).toBe(4));
  let waiting = 4;
  for (const again of ["woken", "disturbed", "woken twice"]) {
    expect(await sleep(sandbox, again !== "disturbed")).toBe("ready");
    expect(all()).toBe(2);
    // Asked once more, as after a save that failed.
    expect(await sleep(sandbox, false)).toBe("ready");
    if (again !== "disturbed") await wake(sandbox, true);
    if (again === "woken twice") await wake(sandbox, false);
    await sandbox.hello();
    await vi.waitFor(() => expect(all()).toBe(waiting));
    const said = await sandbox.run(
      "export KERNELYARD_PYTHON=which; python3 -c 'import numpy; print(1)'; python3 -c 'print(2)'",
      { language: "bash" },
    );
    expect(said).toMatchObject({
      stdout: "1\n2\n",
      stderr: "python3: run by a fork with the libraries\npython3: run by a fork without libraries\n",
    });
    // From now on, of the light one too.
    waiting = 5;
    await vi.waitFor(() => expect(all()).toBe(waiting));
  }
});

test("a session goes on where it was, and is not put to sleep while it is busy", async () => {
  await using sandbox = new Supervised();
  await sandbox.hello();
  await sandbox.run("x = 41");
  const id = sandbox.begin("import time\nprint('runs', flush=True)\ntime.sleep(60)");
  expect((await sandbox.next()).message.msg_type).toBe("stream");
  expect(await sleep(sandbox, false)).toBe("busy");
  sandbox.send({ msg_type: "interrupt_request", msg_id: "stop", parent_id: id });
  await sandbox.finish(id);
  sandbox.send({
    msg_type: "file_write_request",
    msg_id: "write",
    content: { path: "half", size: 4, read_only: false },
  });
  sandbox.send({ msg_type: "chunk", parent_id: "write" }, Buffer.from("ha"));
  expect(await sleep(sandbox, false)).toBe("busy");
  sandbox.send({ msg_type: "chunk", parent_id: "write", content: { last: true } }, Buffer.from("lf"));
  expect((await sandbox.next()).message.msg_type).toBe("file_write_reply");
  expect(await sleep(sandbox, false)).toBe("ready");
  expect(below(sandbox.process.pid)).toHaveLength(2);
  await wake(sandbox, false);
  // The template, the kernel, a shell that waits; a fork where it is likely to be wanted.
  await vi.waitFor(() => expect(below(sandbox.process.pid).length).toBeGreaterThan(2));
  expect((await sandbox.run("print(x + 1, open('half').read())")).stdout).toBe("42 half\n");
});

test("what is made from a template has a kernel of its own, and what its directory holds is not its output", async () => {
  await using sandbox = new Supervised({ preload: ["numpy"] });
  const draw = async () =>
    (
      await sandbox.run(
        "import os, random, numpy\nprint(os.getpid(), random.random(), numpy.random.random())",
      )
    ).stdout;
  await sandbox.hello();
  const before = await draw();
  expect(await sleep(sandbox, true)).toBe("ready");
  writeFileSync(join(sandbox.data, "theirs.txt"), "from before");
  await wake(sandbox, true);
  expect((await sandbox.hello()).execution_count).toBe(0);
  const after = await sandbox.run("open('mine.txt', 'w').write('new')", { collect: RULES });
  expect([...after.files.keys()]).toEqual(["mine.txt"]);
  const [old, ...drawnBefore] = before.split(" ");
  const [present, ...drawnAfter] = (await draw()).split(" ");
  expect(present).not.toBe(old);
  for (const [i, drawn] of drawnAfter.entries()) expect(drawn).not.toBe(drawnBefore[i]);
});

test("the memory that it may use is what it is told when it wakes", async () => {
  await using sandbox = new Supervised({ env: { KERNELYARD_SANDBOX_MEMORY: String(1024 * MIB) } });
  await sandbox.hello();
  const fits = "x = bytearray(300 << 20)\ndel x\nprint('fits')";
  expect((await sandbox.run(fits)).stdout).toBe("fits\n");
  expect(await sleep(sandbox, true)).toBe("ready");
  await wake(sandbox, true, 256 * MIB);
  expect((await sandbox.run(fits)).stderr).toContain("MemoryError");
});
