import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FRESH, LauncherProcess, namedSession } from "./client.ts";
import { EngineProxy } from "./engine-proxy.ts";
import { allContainersOf, containersOf, docker, loopsUnder } from "./host.ts";

describe("after kill -9 of the launcher", () => {
  test("the next one adopts what answers, with its state, and removes what does not", async () => {
    await using launcher = new LauncherProcess();
    await launcher.start();
    const session = await launcher.create(namedSession());
    const silent = await launcher.create(FRESH);
    const stream = await launcher.converse(session.id);
    await stream.execute("x = 41\nopen('f', 'w').write('data')");
    const doomed = await launcher.converse(silent.id);
    // Everything inside but gVisor itself stands still.
    void doomed.execute("import os, signal\nos.kill(1, signal.SIGSTOP)").catch(() => {});
    await launcher.logged(`"sandbox":"${silent.id}"`);
    await expect.poll(() => launcher.list()).toMatchObject([{ used: true }, { used: true }]);
    await launcher.end("SIGKILL");

    await launcher.start();
    await launcher.logged(`"sandbox":"${silent.id}","reason":"engine_lost"`);
    // Its end is told before its container has gone.
    await expect
      .poll(() => launcher.list())
      .toMatchObject([{ id: session.id, used: true, attached: false, ended: null }]);
    expect(await containersOf(launcher.dataDir)).toEqual([session.container_id]);
    const again = await launcher.converse(session.id);
    await again.execute("print(x + 1, open('f').read())");
    expect(again.stdout).toBe("42 data\n");
  });

  test("and of the sandbox, a session's volume mounts again with its data, and nothing else is left", async () => {
    await using launcher = new LauncherProcess();
    await launcher.start();
    const session = namedSession();
    const made = await launcher.create(session);
    const stream = await launcher.converse(made.id);
    await stream.execute(
      "import os\nf = open('kept', 'w'); f.write('kept'); f.flush(); os.fsync(f.fileno())",
    );
    await launcher.end("SIGKILL");
    await docker.getContainer(made.container_id).kill();
    await launcher.start();
    const again = await launcher.create(session);
    const other = await launcher.converse(again.id);
    await other.execute("print(open('kept').read())");
    expect(other.stdout).toBe("kept\n");
    await launcher.call("DELETE", `/sandboxes/${again.id}`);
    expect(await containersOf(launcher.dataDir)).toEqual([]);
    expect(loopsUnder(launcher.dataDir)).toEqual([]);
    expect(readdirSync(join(launcher.dataDir, "volumes/devices"))).toEqual([]);
  });

  test("a sandbox whose gVisor hangs is ended all the same", async () => {
    await using launcher = new LauncherProcess();
    await launcher.start();
    const made = await launcher.create(FRESH);
    const { State } = await docker.getContainer(made.container_id).inspect();
    process.kill(State.Pid, "SIGSTOP");
    expect(await launcher.call("DELETE", `/sandboxes/${made.id}`)).toMatchObject({ status: 204 });
    expect(await containersOf(launcher.dataDir)).toEqual([]);
  });

  test("files of an interrupted creation and devices nobody owns are swept", async () => {
    await using launcher = new LauncherProcess();
    await launcher.start();
    const images = join(launcher.dataDir, "volumes/images");
    await launcher.end("SIGKILL");
    const template =
      readdirSync(join(launcher.dataDir, "volumes")).find((file) => file.startsWith("template-")) ?? "";
    const stray = join(images, "librechat_vol_stray.ext4");
    copyFileSync(join(launcher.dataDir, "volumes", template), stray);
    copyFileSync(join(launcher.dataDir, "volumes", template), `${stray}.abc.tmp`);
    execFileSync("losetup", ["--find", stray]);
    await launcher.start();
    await launcher.logged("releasing a loop device nobody owns");
    expect(readdirSync(images)).toEqual(["librechat_vol_stray.ext4"]);
    const made = await launcher.create(FRESH);
    await launcher.call("DELETE", `/sandboxes/${made.id}`);
    expect(loopsUnder(launcher.dataDir)).toEqual([]);
  });
});

describe("signals", () => {
  test("SIGTERM removes this instance's sandboxes and keeps session volumes", async () => {
    await using launcher = new LauncherProcess();
    await launcher.start();
    const session = namedSession();
    await Promise.all([launcher.create(session), launcher.create(FRESH)]);
    expect(await launcher.end("SIGTERM")).toBe(0);
    expect(await allContainersOf(launcher.dataDir)).toEqual([]);
    expect(loopsUnder(launcher.dataDir)).toEqual([]);
    const volume = await docker.getVolume(`librechat_vol_${session.session.name}`).inspect();
    expect(volume.Labels?.["kernelyard.session"]).toBe(`named:default:${session.session.name}`);
  });

  test("SIGUSR2 leaves them to the next launcher", async () => {
    await using launcher = new LauncherProcess();
    await launcher.start();
    const made = await launcher.create(FRESH);
    const stream = await launcher.converse(made.id);
    await stream.execute("x = 1");
    expect(await launcher.end("SIGUSR2")).toBe(0);
    expect(await containersOf(launcher.dataDir)).toEqual([made.container_id]);
    await launcher.start();
    const again = await launcher.converse(made.id);
    await again.execute("print(x)");
    expect(again.stdout).toBe("1\n");
  });

  test("a second launcher on the same data directory is refused", async () => {
    await using launcher = new LauncherProcess();
    await launcher.start("listens");
    await using second = new LauncherProcess({ KERNELYARD_DATA_DIR: launcher.dataDir });
    await expect(second.start()).rejects.toThrow("KERNELYARD_DATA_DIR");
  });
});

describe("limits", () => {
  test("a host that is full answers 429", async () => {
    await using launcher = new LauncherProcess({ KERNELYARD_MEMORY_BUDGET: "700m" });
    await launcher.start();
    expect((await launcher.health()).capacity).toBe(1);
    const made = await launcher.create(FRESH);
    expect(await launcher.call("POST", "/sandboxes", FRESH)).toMatchObject({
      status: 429,
      body: { error: "host_full" },
    });
    await launcher.call("DELETE", `/sandboxes/${made.id}`);
    await launcher.create(FRESH);
  });

  test("a sandbox without a gateway ends after the idle time, and its session's volume after its own", async () => {
    await using launcher = new LauncherProcess({
      KERNELYARD_IDLE_MS: "1000",
      KERNELYARD_SESSION_VOLUME_TTL_MS: "60000",
    });
    await launcher.start();
    const session = namedSession();
    const made = await launcher.create(session);
    await launcher.logged(`"sandbox":"${made.id}","reason":"expired"`);
    await launcher.end("SIGKILL");
    const used = join(launcher.dataDir, "volumes/last-use", `librechat_vol_${session.session.name}`);
    execFileSync("touch", ["-d", "2 hours ago", used]);
    await launcher.start();
    await launcher.logged("removing a session volume past its time");
    // The next sweep's list shows what the removal left.
    await expect.poll(() => readdirSync(join(launcher.dataDir, "volumes/images"))).toEqual([]);
  });
});

describe("without the engine", () => {
  test("every call says so at once, and all recovers by itself with the kernels", async () => {
    const directory = mkdtempSync(join(tmpdir(), "kernelyard-proxy-"));
    await using proxy = new EngineProxy(join(directory, "docker.sock"));
    await proxy.open();
    await using launcher = new LauncherProcess({ KERNELYARD_DOCKER_SOCKET: proxy.path });
    await launcher.start();
    const made = await launcher.create(FRESH);
    const stream = await launcher.converse(made.id);
    await stream.execute("x = 41");
    await proxy.close();
    await launcher.logged("engine is away");
    expect(await launcher.call("POST", "/sandboxes", FRESH)).toMatchObject({
      status: 503,
      body: { error: "engine_unavailable" },
    });
    expect((await launcher.health()).engine).toMatchObject({ state: "away" });
    await stream.ended;
    await launcher.logged("stream to sandbox lost");
    await expect(launcher.attach(made.id)).rejects.toThrow("503");

    const from = launcher.log.length;
    await proxy.open();
    await launcher.logged("sandbox adopted", from);
    await launcher.logged("isolation is proven", from);
    const again = await launcher.converse(made.id);
    await again.execute("print(x + 1)");
    expect(again.stdout).toBe("42\n");
    rmSync(directory, { recursive: true, force: true });
  });

  test("a launcher that starts before the engine serves health and waits", async () => {
    const directory = mkdtempSync(join(tmpdir(), "kernelyard-proxy-"));
    await using proxy = new EngineProxy(join(directory, "docker.sock"));
    await using launcher = new LauncherProcess({ KERNELYARD_DOCKER_SOCKET: proxy.path });
    await launcher.start("listens");
    await launcher.health();
    await proxy.open();
    await launcher.logged("isolation is proven");
    await launcher.create(FRESH);
    rmSync(directory, { recursive: true, force: true });
  });
});

describe("isolation", () => {
  test("a missing image is refused with the remedy", async () => {
    await using launcher = new LauncherProcess({ KERNELYARD_IMAGE: "no-such-image:latest" });
    await expect(launcher.start()).rejects.toThrow("KERNELYARD_IMAGE");
  });

  test("runc-unsafe is possible, and said", async () => {
    await using launcher = new LauncherProcess({ KERNELYARD_ISOLATION: "runc-unsafe" });
    await launcher.start();
    expect(launcher.log).toContain("user code shares the host's kernel");
    expect(await launcher.health()).toMatchObject({ isolation: "runc-unsafe" });
  });
});
