import { statSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Sandbox } from "../../../gateway/common/protocol/launcher-api.ts";
import { brokenRules } from "../../../gateway/launcher/spec/container-rules.ts";
import { factsOf } from "../../../gateway/launcher/spec/create-body.ts";
import { FRESH, LauncherProcess, namedSession } from "./client.ts";
import { checkpointsAreOn, containersOf, cpuShare, docker, instanceOf, loopsUnder, SHARE } from "./host.ts";

const MIB = 1024 * 1024;

const launcher = new LauncherProcess({ KERNELYARD_SESSION_DISK: "32m" });
beforeAll(async () => {
  await launcher.start();
  await checkpointsAreOn(launcher);
}, 120_000);
afterAll(() => launcher[Symbol.asyncDispose]());

describe("a sandbox", () => {
  test("is made, runs code, is listed, and is gone after DELETE", async () => {
    const made = await launcher.create(FRESH);
    expect(made).toMatchObject({ kind: "fresh", used: false, attached: false, ended: null });
    const stream = await launcher.converse(made.id);
    const reply = await stream.execute("print(6 * 7)");
    expect([reply.content.status, stream.stdout]).toEqual(["ok", "42\n"]);
    const listed = (await launcher.list()).find((sandbox) => sandbox.id === made.id);
    expect(listed).toMatchObject({ used: true, attached: true });
    expect(await launcher.call("DELETE", `/sandboxes/${made.id}`)).toEqual({ status: 204, body: null });
    await stream.ended;
    expect(await containersOf(launcher.dataDir)).not.toContain(made.container_id);
    const ended = Sandbox.parse((await launcher.call("GET", `/sandboxes/${made.id}`)).body);
    expect(ended.ended).toMatchObject({ reason: "killed" });
    expect(await launcher.call("DELETE", `/sandboxes/${made.id}`)).toEqual({ status: 204, body: null });
  });

  test("is for the engine what the container rules ask for", async () => {
    const made = await launcher.create(FRESH);
    const { Config, HostConfig, Image, State } = await docker.getContainer(made.container_id).inspect();
    expect(State.Running).toBe(true);
    const facts = factsOf({ ...Config, Image, HostConfig, NetworkDisabled: true });
    expect(brokenRules(facts)).toEqual([]);
    expect(HostConfig).toMatchObject({ NanoCpus: 500_000_000, Memory: 512 * MIB, MemorySwap: 512 * MIB });
    await launcher.call("DELETE", `/sandboxes/${made.id}`);
  });

  test("has all CPUs while it starts and its share before the first user code", async () => {
    const made = await launcher.create(FRESH);
    expect(await cpuShare(made.container_id)).toBeNull();
    const stream = await launcher.converse(made.id);
    expect(await cpuShare(made.container_id)).toBeNull();
    await stream.execute("pass");
    expect(await cpuShare(made.container_id)).toEqual(SHARE);
    await launcher.call("DELETE", `/sandboxes/${made.id}`);
  });

  test("that exceeds its memory has ended out_of_memory, or said so itself", async () => {
    const made = await launcher.create(FRESH);
    const stream = await launcher.converse(made.id);
    // The supervisor's own limits may come first; its reply is then the truth.
    const reply = await stream
      .execute(
        "import mmap\nheld = []\nwhile True:\n    m = mmap.mmap(-1, 8 << 20); m.write(b'x' * (8 << 20)); held.append(m)",
      )
      .catch(() => null);
    if (reply === null) {
      const { ended } = await untilEnded(made.id);
      expect(ended).toMatchObject({ reason: "out_of_memory", exit_code: 137 });
    } else {
      expect(reply.content.status).toBe("error");
    }
    await launcher.call("DELETE", `/sandboxes/${made.id}`);
  });

  test("whose process 1 is killed from inside has exited, which is not out_of_memory", async () => {
    const made = await launcher.create(FRESH);
    const stream = await launcher.converse(made.id);
    await stream.execute("import os, signal\nos.kill(1, signal.SIGKILL)").catch(() => null);
    await stream.ended;
    expect((await untilEnded(made.id)).ended).toMatchObject({ reason: "exited", exit_code: 137 });
  });

  async function untilEnded(id: string): Promise<Sandbox> {
    await launcher.logged(`"sandbox":"${id}","reason":`);
    return Sandbox.parse((await launcher.call("GET", `/sandboxes/${id}`)).body);
  }

  test("has one gateway: a newer attach takes over, state stays", async () => {
    const made = await launcher.create(FRESH);
    const first = await launcher.converse(made.id);
    await first.execute("x = 41");
    const second = await launcher.attach(made.id);
    await first.ended;
    await second.hello();
    await second.execute("print(x + 1)");
    expect(second.stdout).toBe("42\n");
    await launcher.call("DELETE", `/sandboxes/${made.id}`);
  });
});

describe("a session", () => {
  test("keeps its files, has a hard size, and leaves no loop device", async () => {
    const session = namedSession();
    const made = await launcher.create(session);
    const [image] = loopsUnder(launcher.dataDir);
    expect(image).toContain(session.session.name);
    const stream = await launcher.converse(made.id);
    await stream.execute(
      [
        "import os",
        "print(os.listdir('.'), os.getcwd() == '/mnt/session_data')",
        "open('kept.txt', 'w').write('kept')",
        "try:",
        "    open('big', 'wb').write(bytes(64 << 20))",
        "except OSError as e:",
        "    print(e.errno)",
        "os.remove('big'); os.sync()",
      ].join("\n"),
    );
    expect(stream.stdout).toBe("[] True\n28\n");
    await launcher.call("DELETE", `/sandboxes/${made.id}`);
    expect(loopsUnder(launcher.dataDir)).toEqual([]);

    const again = await launcher.create(session);
    const other = await launcher.converse(again.id);
    await other.execute("print(open('kept.txt').read())");
    expect(other.stdout).toBe("kept\n");
    await launcher.call("DELETE", `/sandboxes/${again.id}`);
    expect(loopsUnder(launcher.dataDir)).toEqual([]);
  });

  test("has one sandbox: a second create names the first, and a create after DELETE waits for its end", async () => {
    const session = namedSession();
    const made = await launcher.create(session);
    expect(await launcher.call("POST", "/sandboxes", session)).toMatchObject({
      status: 409,
      body: { error: "session_exists", sandbox_id: made.id },
    });
    const removed = launcher.call("DELETE", `/sandboxes/${made.id}`);
    const again = launcher.create(session);
    expect((await removed).status).toBe(204);
    expect((await again).id).not.toBe(made.id);
    await launcher.call("DELETE", `/sandboxes/${(await again).id}`);
  });

  test("has a volume of its own where another data directory's has the name", async () => {
    const session = namedSession();
    const volume = `librechat_vol_${session.session.name}`;
    const labels = { "kernelyard.instance": "another", "kernelyard.kind": "session-volume" };
    await docker.createVolume({ Name: volume, Labels: labels });
    try {
      const made = await launcher.create(session);
      const own = `librechat_vol_.${instanceOf(launcher.dataDir)}.${session.session.name}`;
      const { Mounts } = await docker.getContainer(made.container_id).inspect();
      expect(Mounts.map(({ Name, Destination }) => [Name, Destination])).toEqual([
        [own, "/mnt/session_data"],
      ]);
      const stream = await launcher.converse(made.id);
      await stream.execute("import os; open('a', 'w').write('mine'); print(os.getcwd())");
      expect(stream.stdout).toBe("/mnt/session_data\n");
      await launcher.call("DELETE", `/sandboxes/${made.id}`);
      expect((await docker.getVolume(volume).inspect()).Labels).toEqual(labels);
    } finally {
      await docker.getVolume(volume).remove();
    }
  });
});

describe("the launcher", () => {
  test("says what it guarantees", async () => {
    expect(await launcher.health()).toMatchObject({
      engine: { state: "ok" },
      isolation: "runsc",
      session_disk_quota: "loop",
      profiles: [{ name: "default" }],
    });
    expect((await launcher.health()).runtime_version).toContain("runsc");
  });

  test("listens on a socket for its group alone", () => {
    expect(statSync(launcher.socket).mode & 0o777).toBe(0o660);
  });

  test.each([
    ["POST", "/sandboxes", { kind: "fresh", profile: "other" }, 400, "unknown_profile"],
    ["POST", "/sandboxes", { kind: "fresh", profile: "default", image: "evil" }, 400, "bad_request"],
    [
      "POST",
      "/sandboxes",
      { kind: "session", profile: "default", session: { kind: "named", tenant: "default", name: "../x" } },
      400,
      "bad_request",
    ],
    ["POST", "/sandboxes", "not json at all", 400, "bad_request"],
    ["GET", `/sandboxes/${"x".repeat(21)}`, undefined, 404, "not_found"],
    ["GET", `/sandboxes/${"x".repeat(21)}/stream`, undefined, 400, "bad_request"],
    ["GET", "/elsewhere", undefined, 404, "not_found"],
  ])("%s %s %j is answered with %i %s", async (method, path, body, status, error) => {
    expect(await launcher.call(method, path, body)).toMatchObject({ status, body: { error } });
  });

  test("refuses the stream of a sandbox that is not there", async () => {
    await expect(launcher.attach("x".repeat(21))).rejects.toThrow("404");
  });
});
