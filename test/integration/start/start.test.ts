/** `npm start` as its user meets it: the printed key works, Ctrl-C leaves no container, the next start keeps the state. */
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { shellBlock } from "../../support/documents.ts";
import { docker, StartPlace } from "../../support/npm-start.ts";

let place: StartPlace;
beforeEach(async () => {
  place = await StartPlace.make();
});
afterEach(() => place?.remove());

/** Empty for a process that has ended meanwhile: others' services come and go. */
function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch {
    return "";
  }
}

async function run(key: string, code: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`http://127.0.0.1:${place.port}/run`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": key },
    body: JSON.stringify({ session_id: "start-test", code }),
  });
  return { status: response.status, body: await response.json() };
}

describe("npm start", () => {
  it("prints a working key once, and Ctrl-C keeps the files and leaves no container", async () => {
    const first = place.start();
    const output = await first.ready();
    expect(output).toContain(`http://127.0.0.1:${place.port}`);
    expect(output).toMatch(/isolation\s+gVisor/);
    expect(output).toContain("LIBRECHAT_CODE_BASEURL");
    const key = /API key\s+(\S+)/.exec(output)?.[1] ?? "";
    expect(key.length).toBeGreaterThan(32);
    const keyFile = join(place.dataDir, "keys/api-key");
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    expect(readFileSync(keyFile, "utf8").trim()).toBe(key);

    expect(await run(key, "open('kept.txt', 'w').write('here'); print(6 * 7)")).toEqual({
      status: 200,
      body: { stdout: "42\n", stderr: "", exit_code: 0 },
    });
    expect((await run("not-the-key-that-was-printed", "print(1)")).status).toBe(401);

    // As the README has it, on this test's port, in a session that is nobody else's.
    const commands = shellBlock("README.md", "/run")
      .replaceAll("127.0.0.1:3112", `127.0.0.1:${place.port}`)
      .replaceAll('"demo"', `"demo-${place.port}"`);
    const said = execFileSync("sh", ["-euc", commands], {
      encoding: "utf8",
      env: { ...process.env, KEY: key },
    });
    expect(said).toContain(/^# (\{.*\})$/m.exec(commands)?.[1] ?? "nothing");

    const { instance } = place;
    expect(docker("ps", "-q", "--filter", `label=kernelyard.instance=${instance}`)).not.toBe("");
    await first.interrupt();
    expect(docker("ps", "-aq", "--filter", `label=kernelyard.instance=${instance}`)).toBe("");

    const again = await place.start().ready();
    expect(again).not.toContain(key);
    expect(again).toContain(keyFile);
    expect(await run(key, "print(open('kept.txt').read())")).toEqual({
      status: 200,
      body: { stdout: "here\n", stderr: "", exit_code: 0 },
    });
  });

  it("runs the gateway as a user that cannot open the Docker socket or the key", async () => {
    await place.start().ready();
    const socket = spawnSync("ss", ["-Hltnp", `sport = :${place.port}`], { encoding: "utf8" }).stdout;
    const pid = /pid=(\d+)/.exec(socket)?.[1] ?? "";
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const uid = /^Uid:\s+(\d+)\s+(\d+)\s+(\d+)/m.exec(status)?.slice(1) ?? [];
    expect(new Set(uid).size).toBe(1);
    expect(uid[0]).not.toBe("0");
    expect(status).toMatch(/^CapEff:\s+0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    const groups = /^Groups:\s*(.*)$/m.exec(status)?.[1]?.trim().split(/\s+/).filter(Boolean) ?? [];
    const gid = /^Gid:\s+(\d+)/m.exec(status)?.[1] ?? "";
    const asGateway = (file: string) =>
      spawnSync("setpriv", [
        `--reuid=${uid[0]}`,
        `--regid=${gid}`,
        ...(groups.length > 0 ? [`--groups=${groups.join(",")}`] : ["--clear-groups"]),
        "test",
        "-r",
        file,
      ]).status;
    expect(asGateway("/var/run/docker.sock")).toBe(1);
    expect(asGateway(join(place.dataDir, "keys/api-key"))).toBe(1);
    // The same check as root, to see that it can succeed.
    expect(spawnSync("test", ["-r", "/var/run/docker.sock"]).status).toBe(0);
  });

  it("starts a killed gateway and a killed launcher again", async () => {
    const key = /API key\s+(\S+)/.exec(await place.start().ready())?.[1] ?? "";
    await run(key, "x = 1");
    for (const [name, program] of [
      ["gateway", "gateway/server/main.ts"],
      ["launcher", "gateway/launcher/main.ts"],
    ] as const) {
      const group = execFileSync("pgrep", ["-f", program], { encoding: "utf8" }).trim().split("\n");
      const ours = group.filter((pid) => environmentOf(pid).includes(place.dataDir));
      expect(ours.length, `processes of the ${name}`).toBeGreaterThan(0);
      for (const pid of ours) process.kill(Number(pid), "SIGKILL");
      await expect
        .poll(
          () =>
            run(key, "print('back')").then(
              (answer) => answer.body,
              () => null,
            ),
          { timeout: 60_000, interval: 200 },
        )
        .toEqual({ stdout: "back\n", stderr: "", exit_code: 0 });
    }
  });

  it("stops with a message beside another one: of the same data, or on the same port", async () => {
    const first = place.start();
    await first.ready();
    const second = place.start();
    expect(await once(second.child, "exit")).not.toContain(0);
    expect(second.output).toMatch(/runs already, with the data in .*KERNELYARD_DATA_DIR/);
    const third = place.start({ KERNELYARD_DATA_DIR: join(place.dataDir, "another") });
    expect(await once(third.child, "exit")).not.toContain(0);
    expect(third.output).toMatch(/EADDRINUSE.*KERNELYARD_PORT/);
    expect(existsSync(join(place.dataDir, "another"))).toBe(false);
    await first.interrupt();
  });

  it("stops with a message when the gateway's user cannot enter the data directory", async () => {
    const closed = join(place.dataDir, "closed");
    mkdirSync(closed, { mode: 0o700 });
    const started = place.start({ KERNELYARD_DATA_DIR: join(closed, "data") });
    const [code] = await once(started.child, "exit");
    expect(code).not.toBe(0);
    expect(started.output).toMatch(/user kernelyard cannot enter .*KERNELYARD_DATA_DIR.*chmod/);
  });

  it.each([
    [{ KERNELYARD_PROT: "1" }, "KERNELYARD_PROT"],
    [{ KERNELYARD_MEMORY: "lots" }, "KERNELYARD_MEMORY"],
  ])("stops with a message that names the setting: %o", async (env, named) => {
    const started = place.start(env);
    const [code] = await once(started.child, "exit");
    expect(code).not.toBe(0);
    expect(started.output).toContain(named);
    expect(started.output).not.toContain("    at ");
  });
});
