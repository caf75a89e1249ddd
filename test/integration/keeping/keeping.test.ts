/** A backup of a running service, restored into an empty data directory: sessions' files, users' files and keys are there. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newApiKey } from "../../../gateway/common/keys/api-key.ts";
import { writeSecret } from "../../../gateway/common/keys/secret-file.ts";
import { ROOT, shellBlock } from "../../support/documents.ts";
import { Stack, startStack } from "../../support/stack.ts";

const KEY = newApiKey();
const ENV = { KERNELYARD_API_KEYS: KEY, KERNELYARD_SESSION_DISK: "64m" };

let place: string;
let archive: string;
let first: Stack;
let second: Stack | null = null;
let stopped = false;
let uploaded: { session: string; id: string };

beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), "ky-keeping-"));
  archive = join(place, "kernelyard.tar");
  first = await startStack({ env: ENV });
  writeSecret(join(first.dataDir, "keys", "api-key"), `${KEY}\n`);
});
afterAll(async () => {
  await second?.stop();
  if (!stopped) await first?.stop();
  rmSync(place, { recursive: true, force: true });
});

const headers = { "x-api-key": KEY };

async function run(stack: Stack, code: string, session = "kept"): Promise<unknown> {
  return (await stack.post("/run", { session_id: session, code }, headers)).json();
}

const printed = (stdout: string) => ({ stdout, stderr: "", exit_code: 0 });

async function upload(stack: Stack, text: string): Promise<{ session: string; id: string }> {
  const form = new FormData();
  form.append("file", new Blob([text]), "report.txt");
  const response = await fetch(`${stack.baseUrl}/v1/upload`, { method: "POST", headers, body: form });
  const body: unknown = await response.json();
  const [, session = ""] = /"(?:storage_)?session_id":"([^"]+)"/.exec(JSON.stringify(body)) ?? [];
  const [, id = ""] = /"(?:fileId|id)":"([^"]+)"/.exec(JSON.stringify(body)) ?? [];
  return { session, id };
}

async function download(stack: Stack, { session, id }: { session: string; id: string }) {
  const response = await fetch(`${stack.baseUrl}/v1/download/${session}/${id}`, { headers });
  return { status: response.status, text: await response.text() };
}

/** As the document has it, on this test's places. */
function command(words: string, dataDir: string, more = "") {
  const [line = ""] = shellBlock("docs/keeping.md", words)
    .split("\n")
    .filter((text) => text.includes(words));
  return {
    line: `${line.replace("/srv/backup/kernelyard.tar", archive)} ${more}`,
    options: { cwd: ROOT, encoding: "utf8", env: { ...process.env, KERNELYARD_DATA_DIR: dataDir } } as const,
  };
}

function keep(words: string, dataDir: string, more = "") {
  const { line, options } = command(words, dataDir, more);
  const { status, stderr, stdout } = spawnSync("sh", ["-c", line], options);
  return { status, said: `${stdout}${stderr}` };
}

const backup = (more = "") => keep("npm run backup", first.dataDir, more);
const restore = (dataDir: string, more = "") => keep("npm run restore", dataDir, more);

describe("a backup of a running service", () => {
  it("is made while a session writes, and is root's alone", async () => {
    expect(await run(first, "open('note.txt', 'w').write('of a session'); x = 1; print('ok')")).toEqual(
      printed("ok\n"),
    );
    uploaded = await upload(first, "of a user");
    expect(await run(first, WRITER, "busy")).toEqual(printed("writing\n"));
    const { said, status } = backup();
    expect(said).toMatch(/1 files, 2 session volumes, 1 keys/);
    expect(status).toBe(0);
    expect(statSync(archive).mode & 0o777).toBe(0o600);
    expect(existsSync(join(first.dataDir, ".backup"))).toBe(false);
    expect(await run(first, "go = False; thread.join(); print(n > 10)", "busy")).toEqual(printed("True\n"));
    expect(backup()).toEqual({ status: 1, said: expect.stringMatching(/is there already/) });
    // GNU tar reads it, too.
    const names = execFileSync("tar", ["-tf", archive], { encoding: "utf8" }).split("\n");
    expect(names[0]).toBe("kernelyard-backup.json");
    expect(names).toContain("volumes/images/librechat_vol_kept.ext4");
    expect(names).not.toContain("launcher.lock");
  });

  it("that is killed leaves no archive and nobody waiting, and the next one is whole", async () => {
    const other = join(place, "killed.tar");
    const { options } = command("npm run backup", first.dataDir);
    const child = spawn(process.execPath, ["gateway/cli/keeping/backup-command.ts", other], {
      ...options,
      stdio: "ignore",
    });
    while (!existsSync(`${other}.partial`) && child.exitCode === null) await delay(5);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(existsSync(other)).toBe(false);
    expect(await run(first, "open('again.txt', 'w').write('x'); print('wrote')")).toEqual(printed("wrote\n"));
    execFileSync(process.execPath, ["gateway/cli/keeping/backup-command.ts", other], options);
    expect(readdirSync(place).sort()).toEqual(["kernelyard.tar", "killed.tar"]);
  });

  it("that finds no room says so and leaves nothing", () => {
    const small = join(place, "small");
    execFileSync("sh", ["-c", 'mkdir "$1" && mount -t tmpfs -o size=1m none "$1"', "-", small]);
    try {
      const { options } = command("npm run backup", first.dataDir);
      const args = ["gateway/cli/keeping/backup-command.ts", join(small, "x.tar")];
      const { status, stderr } = spawnSync(process.execPath, args, options);
      expect([status, stderr]).toEqual([1, expect.stringMatching(/are free in .*Nothing was written/)]);
      expect(readdirSync(small)).toEqual([]);
    } finally {
      execFileSync("umount", [small]);
      rmSync(small, { recursive: true });
    }
  });
});

describe("a restore", () => {
  const emptied = () => mkdtempSync(join(place, "data-"));
  /** With its own tampering; the directory stays as empty as it was. */
  function refused(change: (copy: string) => void, more = ""): string {
    const copy = join(place, "changed.tar");
    copyFileSync(archive, copy);
    change(copy);
    const dataDir = emptied();
    const { options } = command("npm run restore", dataDir);
    const args = [
      "gateway/cli/keeping/restore-command.ts",
      copy,
      "--new-instance",
      ...more.split(" ").filter(Boolean),
    ];
    const { status, stderr } = spawnSync(process.execPath, args, options);
    expect(status, stderr).toBe(1);
    expect(readdirSync(dataDir)).toEqual(["launcher.lock"]);
    rmSync(copy);
    return stderr;
  }
  const replaced = (from: string, to: string) => (copy: string) => {
    const bytes = readFileSync(copy);
    const at = bytes.indexOf(from);
    expect(at).toBeGreaterThan(0);
    bytes.write(to, at);
    writeFileSync(copy, bytes);
  };

  it("refuses what is changed, cut short, newer, something else, or not the one that is meant", () => {
    expect(refused(replaced("of a user", "of a ghost"))).toMatch(
      /Not restored: it was changed or damaged.*content/,
    );
    expect(refused((copy) => execFileSync("truncate", ["--size=-40K", copy]))).toMatch(
      /Not restored: it (is no whole tar|has no manifest|was cut short)/,
    );
    expect(refused(replaced('"format": 1', '"format": 7'))).toMatch(
      /Not restored: it was made by Kernelyard .*format 7/,
    );
    expect(refused((copy) => writeFileSync(copy, "x".repeat(5000)))).toMatch(/Not restored: it is no/);
    expect(refused(() => {}, `--digest ${"0".repeat(64)}`)).toMatch(/not the one that you mean/);
    expect(refused(replaced("keys/api-key", "keys/../keyx"))).toMatch(/Not restored/);
  });

  it("refuses a directory with something in it, and one beside the service itself", () => {
    expect(restore(first.dataDir)).toEqual({
      status: 1,
      said: expect.stringMatching(/The service.*stop it first/),
    });
    expect(restore(emptied())).toEqual({
      status: 1,
      said: expect.stringMatching(/still on this machine.*--new-instance/),
    });
    const dataDir = emptied();
    writeFileSync(join(dataDir, "mine"), "");
    expect(restore(dataDir)).toEqual({ status: 1, said: expect.stringMatching(/is not empty \(mine\)/) });
    expect(readdirSync(dataDir).sort()).toEqual(["launcher.lock", "mine"]);
  });

  it("into an empty directory goes on with files of sessions and users, and with the keys", async () => {
    const { instance } = first;
    await first.stop();
    stopped = true;
    second = new Stack({ env: ENV });
    const { dataDir } = second;
    for (const name of readdirSync(dataDir)) rmSync(join(dataDir, name), { recursive: true });
    // Killed at some moment, it is done again.
    const { options } = command("npm run restore", dataDir);
    const killed = spawn(process.execPath, ["gateway/cli/keeping/restore-command.ts", archive], {
      ...options,
      stdio: "ignore",
    });
    while (!existsSync(join(dataDir, ".restoring")) && killed.exitCode === null) await delay(2);
    killed.kill("SIGKILL");
    await once(killed, "exit");
    const { said, status } = restore(dataDir);
    expect(said).toMatch(/Restored into/);
    expect(status).toBe(0);
    expect(second.instance).toBe(instance);
    expect(readFileSync(join(dataDir, "keys/api-key"), "utf8")).toBe(`${KEY}\n`);

    execFileSync(process.execPath, ["-e", PREPARE, dataDir], { cwd: ROOT });
    await second.startLauncher();
    await second.startGateway();
    expect(await run(second, "print(open('note.txt').read())")).toEqual(printed("of a session\n"));
    // Whole lines of one moment: numbers that follow each other.
    const check =
      "n = [int(i) for i in open('growing.txt').read().split('\\n')[:-1]]\nprint(n == list(range(1, len(n) + 1)), len(n) > 0)";
    expect(await run(second, check, "busy")).toEqual(printed("True True\n"));
    expect(await download(second, uploaded)).toEqual({ status: 200, text: "of a user" });
    expect(await download(second, await upload(second, "new"))).toEqual({ status: 200, text: "new" });
  });
});

/** Writes line after line, on to the disk, until it is told to end. */
const WRITER = `
import os, threading, time
go, n = True, 0
def write():
    global n
    with open("growing.txt", "w") as file:
        while go:
            n += 1
            file.write(f"{n}\\n")
            file.flush()
            os.fsync(file.fileno())
thread = threading.Thread(target=write)
thread.start()
while n < 10:
    time.sleep(0.01)
print("writing")
`;

/** What `npm start` does with the directory before it starts the services. */
const PREPARE = `
  import { execFileSync } from "node:child_process";
  import { prepareDataDirectory } from "./gateway/host/data-directory.ts";
  const id = (flag) => Number(execFileSync("id", [flag, "kernelyard"]));
  prepareDataDirectory(process.argv[1], { uid: id("-u"), gid: id("-g") });
`;
