/** Sandboxes from checkpoints, and sessions that sleep: a real engine, real gVisor, a launcher of the test's own. */
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  watch,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sandbox } from "../../../gateway/common/protocol/launcher-api.ts";
import { brokenRules } from "../../../gateway/launcher/spec/container-rules.ts";
import { factsOf } from "../../../gateway/launcher/spec/create-body.ts";
import { ATTACK } from "../../support/refused-calls.ts";
import { FRESH, LauncherProcess, namedSession, type Stream } from "./client.ts";
import {
  allContainersOf,
  checkpointsAreOn,
  containersOf,
  cpuShare,
  docker,
  loopsUnder,
  SHARE,
} from "./host.ts";

const ON = { KERNELYARD_CHECKPOINTS: "auto" };

const DRAW =
  "import random, uuid, numpy, ssl\nprint(random.random(), uuid.uuid4(), numpy.random.random(), ssl.RAND_bytes(8).hex())";

/** What confines user code, and the way out of the sandbox. */
const INSIDE = `
import os, resource, socket
status = open("/proc/self/status").read()
print([line for line in status.splitlines() if line.split(":")[0] in ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")])
print(os.getuid(), os.getgroups(), [resource.getrlimit(limit) for limit in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)])
print(sorted(line.split()[1:4] for line in open("/proc/mounts")))
print([name for name in os.environ if "KERNELYARD" in name])
for attempt in (lambda: socket.create_connection(("169.254.169.254", 80), timeout=3), lambda: open("/opt/python/x", "w"), lambda: os.readlink("/proc/1/fd/0")):
    try: print("REACHED", attempt())
    except OSError as error: print("OSError", error.errno)`;

async function print(stream: Stream, code: string, language = "py"): Promise<string> {
  stream.stdout = "";
  await stream.execute(code, 30_000, language);
  return stream.stdout.trimEnd();
}

/** Puts the session to sleep, as a gateway that lets go of it does; its sandbox is gone then. */
async function sleep(launcher: LauncherProcess, id: string, stream: Stream): Promise<void> {
  stream.close();
  expect(await launcher.call("POST", `/sandboxes/${id}/sleep`)).toEqual({
    status: 200,
    body: { state: "asleep" },
  });
}

const runtimeSession = () => ({
  kind: "session",
  profile: "default",
  session: { kind: "runtime", digest: randomBytes(11).toString("hex").slice(1) },
});

type Session = ReturnType<typeof namedSession>;
const volumeOf = ({ session }: Session) => `librechat_vol_${session.name}`;
const checkpointOf = (launcher: LauncherProcess, session: Session) =>
  join(launcher.dataDir, "checkpoints/sessions", volumeOf(session));

/** A session with a variable and a file, asleep. */
async function asleep(launcher: LauncherProcess): Promise<Session> {
  const session = namedSession();
  const made = await launcher.create(session);
  const stream = await launcher.converse(made.id);
  expect(await print(stream, "x = 41\nopen('kept', 'w').write('kept')\nprint('ready')")).toBe("ready");
  await sleep(launcher, made.id, stream);
  return session;
}

/** Its variables are lost and that is told, its files are there, and it serves. */
async function expectLost(launcher: LauncherProcess, session: Session, why: string): Promise<void> {
  const made = await launcher.create(session);
  expect(made).toMatchObject({ used: false, lost: expect.stringContaining(why) });
  expect(made.origin).not.toBe("woken");
  const stream = await launcher.converse(made.id);
  expect(await print(stream, "print(open('kept').read(), 'x' in globals())")).toBe("kept False");
  // Told until code has run, and not again.
  expect((await launcher.list()).find(({ id }) => id === made.id)).toMatchObject({ lost: null });
  await launcher.call("DELETE", `/sandboxes/${made.id}`);
  expect(await launcher.create(session)).toMatchObject({ lost: null });
}

const templates = mkdtempSync(join(tmpdir(), "kernelyard-templates-"));
afterAll(() => rmSync(templates, { recursive: true }));

/** What a launcher left that had made its templates; a launcher that starts there makes none, and proves them again. */
function keepTemplates(from: string, to: string, how = "--link"): void {
  mkdirSync(to, { recursive: true, mode: 0o700 });
  execFileSync("cp", ["--archive", how, join(from, "key"), join(from, "templates"), to]);
}

async function started(env: Readonly<Record<string, string>>): Promise<LauncherProcess> {
  const launcher = new LauncherProcess(env);
  keepTemplates(templates, join(launcher.dataDir, "checkpoints"));
  await launcher.start();
  await checkpointsAreOn(launcher);
  return launcher;
}

let launcher: LauncherProcess;
beforeAll(async () => {
  launcher = new LauncherProcess(ON);
  await launcher.start();
  await checkpointsAreOn(launcher);
  keepTemplates(join(launcher.dataDir, "checkpoints"), templates);
}, 120_000);
afterAll(() => launcher[Symbol.asyncDispose]());

describe("a launcher whose templates are ready", () => {
  test("makes sandboxes from them, which agree on nothing that is random and have the session's CPU share", async () => {
    const made = await Promise.all(
      [FRESH, namedSession(), runtimeSession(), runtimeSession()].map((spec) => launcher.create(spec)),
    );
    expect(made.map(({ origin, used }) => [origin, used])).toEqual(made.map(() => ["template", false]));
    const streams = await Promise.all(made.map(({ id }) => launcher.converse(id)));
    expect(await cpuShare(made[0]?.container_id ?? "")).toBeNull();
    // The kernel, forks of both templates that are a `python3` of bash, and one that starts anew.
    const light = `python3 -c 'import random, secrets, uuid; print(random.random(), secrets.token_hex(8), uuid.uuid4())'`;
    const drawAll = `export KERNELYARD_PYTHON=explain; python3 -c '${DRAW}'; python3 -c '${DRAW}'; ${light}; ${light}; KERNELYARD_PYTHON=plain python3 -c '${DRAW}'`;
    const draws = async (stream: Stream) => [
      await print(stream, DRAW),
      await print(stream, drawAll, "bash"),
      await print(stream, "echo $SRANDOM$SRANDOM", "bash"),
    ];
    const each = (await Promise.all(streams.map(draws))).flat().flatMap((said) => said.split(/\s+/));
    expect(each).toHaveLength(made.length * 23);
    expect(new Set(each).size).toBe(each.length);
    for (const { container_id } of made) expect(await cpuShare(container_id)).toEqual(SHARE);
    await Promise.all(made.map(({ id }) => launcher.call("DELETE", `/sandboxes/${id}`)));
    expect((await launcher.health()).checkpoints).toMatchObject({ restored: 4, failed: 0 });
  });

  test("puts a session to sleep with all that it has, and wakes it", async () => {
    const session = namedSession();
    const made = await launcher.create(session);
    const stream = await launcher.converse(made.id);
    await stream.execute(`
import os, sqlite3, subprocess, threading, time
x = 41
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
table = sqlite3.connect(":memory:")
table.execute("create table t (a)")
table.execute("insert into t values (7)")
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
unlinked = open("/tmp/unlinked", "w+")
unlinked.write("unlinked")
unlinked.flush()
os.unlink("/tmp/unlinked")
half = open("half", "w")
half.write("first ")
half.flush()
`);
    await sleep(launcher, made.id, stream);
    expect(await containersOf(launcher.dataDir)).toEqual([]);
    expect(loopsUnder(launcher.dataDir)).toEqual([]);
    expect((await launcher.health()).checkpoints.sleeping).toBe(1);
    expect(await launcher.call("GET", `/sandboxes/${made.id}`)).toMatchObject({
      body: { ended: { reason: "asleep" } },
    });

    const woken = await launcher.create(session);
    expect(woken).toMatchObject({ origin: "woken", used: true, lost: null });
    expect(await cpuShare(woken.container_id)).toEqual(SHARE);
    const again = await launcher.converse(woken.id);
    const looked = `
before = ticks
time.sleep(0.3)
child.stdin.write(b"child"); child.stdin.close()
half.write("second"); half.close()
unlinked.seek(0)
print(x + 1, ticks > before, table.execute("select a from t").fetchone()[0], child.stdout.read().decode(), unlinked.read(), open("half").read())
`;
    expect(await print(again, looked)).toBe("42 True 7 child unlinked first second");
    expect((await launcher.health()).checkpoints.sleeping).toBe(0);
    await launcher.call("DELETE", `/sandboxes/${woken.id}`);
    expect(await launcher.create(session)).toMatchObject({ origin: "template", lost: null });
  });

  test("puts a session of LibreChat's to sleep, whose directory is elsewhere, and wakes it", async () => {
    const session = runtimeSession();
    const made = await launcher.create(session);
    const stream = await launcher.converse(made.id);
    await stream.execute("import os\nx = os.getcwd()\nopen('/mnt/session_data/kept', 'w').write('kept')");
    await sleep(launcher, made.id, stream);
    const woken = await launcher.create(session);
    expect(woken.origin).toBe("woken");
    const again = await launcher.converse(woken.id);
    expect(await print(again, "print(x, os.getcwd(), open('kept').read())")).toBe("/mnt/data /mnt/data kept");
    await launcher.call("DELETE", `/sandboxes/${woken.id}`);
  });

  test("keeps what it restores as isolated as what it starts", async () => {
    await using cold = new LauncherProcess({ KERNELYARD_CHECKPOINTS: "off" });
    await cold.start();
    const started = await cold.create(namedSession());
    const session = namedSession();
    const cloned = await launcher.create(session);
    const look = async (from: LauncherProcess, { container_id, id }: Sandbox) => {
      const { Config, HostConfig, Image, State } = await docker.getContainer(container_id).inspect();
      const stream = await from.converse(id);
      const seen = {
        broken: brokenRules(factsOf({ ...Config, Image, HostConfig, NetworkDisabled: true })),
        oom: readFileSync(`/proc/${State.Pid}/oom_score_adj`, "utf8"),
        inside: await print(stream, INSIDE),
        calls: await print(stream, ATTACK),
      };
      stream.close();
      return seen;
    };
    const expected = await look(cold, started);
    expect(expected.broken).toEqual([]);
    expect(expected.inside).toContain("OSError");
    expect(expected.calls).not.toContain('"ok"');
    expect(await look(launcher, cloned)).toEqual(expected);
    expect(await launcher.call("POST", `/sandboxes/${cloned.id}/sleep`)).toMatchObject({ status: 200 });
    const woken = await launcher.create(session);
    expect(woken.origin).toBe("woken");
    expect(await look(launcher, woken)).toEqual(expected);
    await launcher.call("DELETE", `/sandboxes/${woken.id}`);
  });

  test("forgets what was saved of a session: its variables where that is asked for, or all of it", async () => {
    const session = await asleep(launcher);
    const variables = { session: session.session, lost: "its owner asked for it" };
    const forget = (path: string, body: unknown) => launcher.call("POST", `/sessions/${path}`, body);
    expect(await forget("forget-variables", variables)).toMatchObject({ status: 204 });
    expect(existsSync(checkpointOf(launcher, session))).toBe(false);
    await expectLost(launcher, session, "its owner asked for it");
    expect(await forget("forget-variables", variables)).toMatchObject({ status: 409 });

    const other = await asleep(launcher);
    expect(existsSync(checkpointOf(launcher, other))).toBe(true);
    expect(await forget("forget", other.session)).toMatchObject({ status: 204 });
    expect(existsSync(checkpointOf(launcher, other))).toBe(false);
    expect(await forget("forget-variables", { ...variables, session: other.session })).toMatchObject({
      status: 404,
    });
    const anew = await launcher.create(other);
    expect(anew).toMatchObject({ origin: "template", lost: null });
    const stream = await launcher.converse(anew.id);
    expect(await print(stream, "import os; print(os.listdir('.'), 'x' in globals())")).toBe("[] False");
  });

  test("leaves a session awake that runs code, and refuses what cannot sleep", async () => {
    const session = await launcher.create(namedSession());
    const stream = await launcher.converse(session.id);
    const running = stream.execute("import time\nprint('runs', flush=True)\ntime.sleep(2)");
    await expect.poll(() => stream.stdout).toBe("runs\n");
    expect(await launcher.call("POST", `/sandboxes/${session.id}/sleep`)).toMatchObject({
      body: { state: "busy" },
    });
    await running.catch(() => {});
    const fresh = await launcher.create(FRESH);
    expect(await launcher.call("POST", `/sandboxes/${fresh.id}/sleep`)).toMatchObject({
      status: 409,
      body: { error: "cannot_sleep" },
    });
    expect(await launcher.call("POST", `/sandboxes/${"a".repeat(21)}/sleep`)).toMatchObject({ status: 404 });
    const again = await launcher.converse(session.id);
    expect(await print(again, "print('still here')")).toBe("still here");
  });

  test("gives back the share of the CPUs to a session that could not be saved", async () => {
    const session = await launcher.create(namedSession());
    const stream = await launcher.converse(session.id);
    expect(await print(stream, "x = 41\nprint(x)")).toBe("41");
    stream.close();
    const inTheWay = join(launcher.dataDir, "checkpoints/saving", session.id);
    writeFileSync(inTheWay, "");
    expect(await launcher.call("POST", `/sandboxes/${session.id}/sleep`)).toMatchObject({
      status: 409,
      body: { error: "cannot_sleep" },
    });
    expect(await cpuShare(session.container_id)).toEqual(SHARE);
    rmSync(inTheWay, { force: true });
    expect(await print(await launcher.converse(session.id), "print(x)")).toBe("41");
  });

  test.each<[string, string, (directory: string) => void]>([
    ["a flipped bit of its memory", "damaged", (d) => flip(join(d, "pages.img"))],
    ["a flipped bit of its objects", "damaged", (d) => flip(join(d, "checkpoint.img"))],
    ["its memory cut short", "damaged", (d) => execFileSync("truncate", ["-s", "1M", join(d, "pages.img")])],
    ["no manifest", "incomplete", (d) => rmSync(join(d, "manifest.json"))],
  ])("tells that variables are lost by %s, and keeps the files", async (_what, why, damage) => {
    const session = await asleep(launcher);
    const others = await asleep(launcher);
    damage(checkpointOf(launcher, session));
    const { failed } = (await launcher.health()).checkpoints;
    await expectLost(launcher, session, why);
    expect((await launcher.health()).checkpoints.failed).toBe(failed + 1);
    for (const { id } of await launcher.list()) await launcher.call("DELETE", `/sandboxes/${id}`);
    expect(await launcher.create(others)).toMatchObject({ origin: "woken" });
    for (const { id } of await launcher.list()) await launcher.call("DELETE", `/sandboxes/${id}`);
  });

  test("tells that variables are lost with a file that they had open, and keeps the others", async () => {
    const session = namedSession();
    const made = await launcher.create(session);
    const stream = await launcher.converse(made.id);
    await stream.execute(
      "x = 41\nopen('kept', 'w').write('kept')\nf = open('gone', 'w'); f.write('x'); f.flush()",
    );
    await sleep(launcher, made.id, stream);
    const mounted = mkdtempSync(join(tmpdir(), "volume-"));
    execFileSync("mount", [
      "-o",
      "loop",
      join(launcher.dataDir, "volumes/images", `${volumeOf(session)}.ext4`),
      mounted,
    ]);
    rmSync(join(mounted, "gone"));
    execFileSync("umount", [mounted]);
    rmSync(mounted, { recursive: true });
    await expectLost(launcher, session, "could not be restored");
    for (const { id } of await launcher.list()) await launcher.call("DELETE", `/sandboxes/${id}`);
    // The attempt that failed has left nothing: neither container nor process nor control group.
    expect(await containersOf(launcher.dataDir)).toEqual([]);
    expect(loopsUnder(launcher.dataDir)).toEqual([]);
  });

  test("has what was saved where only root can read it", () => {
    const modes = execFileSync("find", [join(launcher.dataDir, "checkpoints"), "-printf", "%m %u\\n"], {
      encoding: "utf8",
    });
    for (const line of modes.trimEnd().split("\n")) expect(line).toMatch(/^[67]00 root$/);
  });
});

describe("sessions asleep survive", () => {
  test("kill -9 of the launcher, SIGTERM, and another engine's start", async () => {
    await using launcher = await started(ON);
    const session = await asleep(launcher);
    await launcher.end("SIGKILL");
    await launcher.start();
    await checkpointsAreOn(launcher);
    const woken = await launcher.create(session);
    expect(woken.origin).toBe("woken");
    expect(await print(await launcher.converse(woken.id), "print(x + 1)")).toBe("42");
    // An orderly stop puts awake sessions to sleep.
    expect(await launcher.end("SIGTERM")).toBe(0);
    expect(await allContainersOf(launcher.dataDir)).toEqual([]);
    await launcher.start();
    await checkpointsAreOn(launcher);
    const again = await launcher.create(session);
    expect(again.origin).toBe("woken");
    expect(await print(await launcher.converse(again.id), "print(x + 2)")).toBe("43");
    // And kill -9 of the launcher with the container tells the loss.
    await launcher.end("SIGKILL");
    execFileSync("docker", ["rm", "--force", again.container_id]);
    await launcher.start();
    expect(await launcher.create(session)).toMatchObject({ lost: expect.stringContaining("restarted") });
  });

  test("without a gateway, by themselves, when they are idle", async () => {
    await using launcher = await started({ ...ON, KERNELYARD_SLEEP_AFTER_MS: "500" });
    const session = namedSession();
    const made = await launcher.create(session);
    const stream = await launcher.converse(made.id);
    await stream.execute("x = 41");
    stream.close();
    await launcher.logged(`"sandbox":"${made.id}","reason":"asleep"`);
    expect(await launcher.create(session)).toMatchObject({ origin: "woken" });
  });

  test("until the disk for them is full: whoever slept longest loses its variables, and is told", async () => {
    await using launcher = await started({ ...ON, KERNELYARD_SLEEP_DISK: "512m" });
    const sessions = [];
    for (let i = 0; i < 4; i++) sessions.push(await asleep(launcher));
    const kept = readdirSync(join(launcher.dataDir, "checkpoints/sessions"));
    expect(kept.length).toBeLessThan(4);
    const [first, , , last] = sessions;
    if (first === undefined || last === undefined) throw new Error("no sessions");
    expect(kept).not.toContain(volumeOf(first));
    expect(kept).toContain(volumeOf(last));
    await expectLost(launcher, first, "disk");
  });
});

test("a full disk while a session is saved costs its variables at most, and that is told", async () => {
  await using launcher = new LauncherProcess({ ...ON, KERNELYARD_DISK_RESERVE: "64m" });
  const checkpoints = join(launcher.dataDir, "checkpoints");
  const image = join(launcher.dataDir, "small-disk");
  mkdirSync(checkpoints, { mode: 0o700 });
  execFileSync("truncate", ["-s", "3G", image]);
  execFileSync("mkfs.ext4", ["-q", "-m", "0", image]);
  execFileSync("mount", ["-o", "loop", image, checkpoints]);
  try {
    keepTemplates(templates, checkpoints, "--no-preserve=links");
    await launcher.start();
    await checkpointsAreOn(launcher);
    const other = await asleep(launcher);
    const session = namedSession();
    const made = await launcher.create(session);
    const stream = await launcher.converse(made.id);
    await stream.execute("import os\nopen('kept', 'w').write('kept')\nx = os.urandom(150 << 20)");
    stream.close();
    const filler = join(checkpoints, "filler");
    const watcher = watch(join(checkpoints, "saving"), () => {
      const { bavail, bsize } = statfsSync(checkpoints);
      // Some is promised to what is being written: it takes the rest, and fails.
      if (bavail > 0) spawnSync("fallocate", ["-l", String(bavail * bsize), filler]);
    });
    const answer = await launcher.call("POST", `/sandboxes/${made.id}/sleep`);
    watcher.close();
    expect([409, 503]).toContain(answer.status);
    expect(readdirSync(join(checkpoints, "sessions"))).toEqual([volumeOf(other)]);
    rmSync(filler);
    if (answer.status === 503) await expectLost(launcher, session, "could not be saved");
    else expect(await print(await launcher.converse(made.id), "print(len(x))")).toBe(String(150 << 20));
    for (const { id } of await launcher.list()) await launcher.call("DELETE", `/sandboxes/${id}`);
    expect(readdirSync(join(checkpoints, "saving"))).toEqual([]);
    const woken = await launcher.create(other);
    expect(await print(await launcher.converse(woken.id), "print(x)")).toBe("41");
  } finally {
    await launcher.end("SIGTERM");
    execFileSync("umount", [checkpoints]);
  }
});

test("another image than the one it slept in costs a session its variables, which is told", async () => {
  await using launcher = await started(ON);
  const session = await asleep(launcher);
  await launcher.end("SIGTERM");
  const container = execFileSync("docker", [
    "create",
    process.env.KERNELYARD_IMAGE ?? "custom-rce-kernel:latest",
  ]);
  const name = `kernelyard-test:${randomBytes(4).toString("hex")}`;
  const id = container.toString().trim();
  execFileSync("docker", ["commit", "--change", "LABEL updated=yes", id, name]);
  try {
    const updated = { ...ON, KERNELYARD_IMAGE: name, KERNELYARD_DATA_DIR: launcher.dataDir };
    await using next = new LauncherProcess(updated);
    await next.start();
    await checkpointsAreOn(next);
    await expectLost(next, session, "the sandbox image was updated");
    await next.end("SIGTERM");
  } finally {
    execFileSync("docker", ["rm", id]);
    execFileSync("docker", ["rmi", name]);
  }
});

test("a session does not wake where it does not fit any more, and nobody else is concerned", async () => {
  await using launcher = await started({ ...ON, KERNELYARD_MEMORY: "768m" });
  const session = namedSession();
  const made = await launcher.create(session);
  const stream = await launcher.converse(made.id);
  const large = "open('kept', 'w').write('kept')\nx = bytearray(b'x') * (300 << 20)\nprint(len(x) >> 20)";
  expect(await print(stream, large)).toBe("300");
  await sleep(launcher, made.id, stream);
  await launcher.end("SIGTERM");
  await using smaller = new LauncherProcess({
    ...ON,
    KERNELYARD_MEMORY: "256m",
    KERNELYARD_FRESH_DISK: "64m",
    KERNELYARD_DATA_DIR: launcher.dataDir,
  });
  await smaller.start();
  await checkpointsAreOn(smaller);
  await expectLost(smaller, session, "could not be restored");
  await smaller.end("SIGTERM");
});

test("templates that do not restore cost time and no call, and are given up after three", async () => {
  await using launcher = await started(ON);
  const templates = join(launcher.dataDir, "checkpoints/templates");
  for (const key of readdirSync(templates)) rmSync(join(templates, key, "checkpoint.img"));
  for (const spec of [FRESH, namedSession(), FRESH]) {
    const made = await launcher.create(spec);
    expect(made).toMatchObject({ origin: "cold", used: false, lost: null });
    expect(await print(await launcher.converse(made.id), "print(1+1)")).toBe("2");
  }
  expect((await launcher.health()).checkpoints).toMatchObject({
    state: "off",
    reason: expect.stringContaining("3 restores in a row failed"),
    restored: 0,
    failed: 3,
  });
  // The attempts that failed have left nothing.
  expect(await containersOf(launcher.dataDir)).toHaveLength(3);
  await launcher.create(FRESH);
  expect((await launcher.health()).checkpoints.failed).toBe(3);
});

test("where checkpoints are off sandboxes start, and sessions do not sleep", async () => {
  await using launcher = new LauncherProcess({ KERNELYARD_CHECKPOINTS: "off" });
  await launcher.start();
  const session = await launcher.create(namedSession());
  expect(session.origin).toBe("cold");
  expect((await launcher.health()).checkpoints).toMatchObject({
    state: "off",
    reason: "KERNELYARD_CHECKPOINTS=off",
  });
  expect(await launcher.call("POST", `/sandboxes/${session.id}/sleep`)).toMatchObject({
    status: 409,
    body: { error: "cannot_sleep", message: "KERNELYARD_CHECKPOINTS=off" },
  });
});

function flip(path: string): void {
  const bytes = readFileSync(path);
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}
