/**
 * The directory as a stack of machines has it: its own configuration, users, certificate and scripts, on a real server. In
 * place of the container's: folders, the port, and Debian's server of this machine.
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { RateLimiterRedis } from "rate-limiter-flexible";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../gateway/server/fleet/directory/directory.ts";
import { ValkeyDirectory } from "../../gateway/server/fleet/directory/valkey.ts";
import { script } from "../../infra/parts/script.ts";
import { directoryUsers } from "../../infra/targets/hosts/valkey.ts";
import { fields } from "../support/fleet/hosts.ts";
import { freePort } from "../support/free-port.ts";
import { LONG, newName } from "./directories.ts";

const ROOT = join(import.meta.dirname, "../..");
const PASSWORD = "0123456789abcdef";
const SPEAKER = { host: "host-1", nonce: "nonce-1", since: 1 };

describe("the directory of a stack of machines", () => {
  const folder = mkdtempSync(join(tmpdir(), "ky-stack-directory-"));
  const access = join(folder, "access");
  let port = 0;
  let certificate = "";
  let program = "";
  let server: ReturnType<typeof spawn>;
  const opened: ValkeyDirectory[] = [];

  const onMachine = (name: string, values: Readonly<Record<string, string>>, input: string) =>
    execFileSync("sh", ["-c", script(join(ROOT, "infra/targets/hosts", name), values)], {
      input,
      encoding: "utf8",
    });
  const place = (password: string) => `rediss://kernelyard:${password}@127.0.0.1:${port}`;
  const directory = (url: string, ca: string | null) => {
    const made = new ValkeyDirectory({ url, ca, fleet: "test", times: LONG, commandMs: 5_000 });
    opened.push(made);
    return made;
  };
  const client = (options: Readonly<Record<string, string>>) =>
    new Redis({
      host: "127.0.0.1",
      port,
      tls: { ca: certificate },
      retryStrategy: () => null,
      enableReadyCheck: false,
      ...options,
    });
  const start = async () => {
    server = spawn(program, [join(folder, "valkey.conf")], { stdio: "ignore" });
    const before = performance.now() + 30_000;
    for (;;) {
      const asked = client({});
      asked.on("error", () => {});
      const said = await refusal(asked.ping());
      asked.disconnect();
      if (said.includes("NOAUTH")) break;
      if (server.exitCode !== null || performance.now() > before) throw new Error(`no directory: ${said}`);
      await delay(50);
    }
  };
  const refusal = (asked: Promise<unknown>) => asked.then(() => "done", String);

  beforeAll(async () => {
    port = await freePort();
    const owner = String(process.getuid?.());
    const container = "kernelyard-test-no-such-container";
    certificate = onMachine(
      "certificate.sh",
      {
        FOLDER: access,
        TRUST: "",
        HOST: "127.0.0.1",
        SUBJECT: "IP:127.0.0.1,DNS:kernelyard-test-valkey",
        OWNER: owner,
        CONTAINER: container,
      },
      "",
    );
    onMachine(
      "valkey-access.sh",
      { FOLDER: access, OWNER: owner, CONTAINER: container },
      directoryUsers(PASSWORD),
    );
    const config = readFileSync(join(ROOT, "gateway/image/valkey/valkey.conf"), "utf8")
      .replaceAll("/etc/directory", access)
      .replace("/var/lib/directory", folder)
      .replace("bind * -::*", "bind 127.0.0.1")
      .replace("tls-port 6379", `tls-port ${port}`);
    writeFileSync(join(folder, "valkey.conf"), config);
    program = execFileSync("bash", [join(ROOT, "test/support/redis/redis-server.sh")], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    }).trim();
    await start();
  });

  afterAll(async () => {
    for (const one of opened) await one.close();
    server.kill("SIGKILL");
    if (server.exitCode === null) await once(server, "exit");
    rmSync(folder, { recursive: true, force: true });
  });

  it("serves a gateway that knows its certificate: hosts, sessions, limits", async () => {
    const ours = directory(place(PASSWORD), certificate);
    await ours.connect();
    expect(await ours.problem()).toBeNull();
    expect((await ours.beat(SPEAKER, fields(), newName())).kind).toBe("renewed");
    expect((await ours.hosts()).map(({ id }) => id)).toEqual(["host-1"]);
    const claimed = await ours.route("digest", "host-1");
    expect(claimed.kind).toBe("claimed");
    await ours.touch(["digest"]);
    expect(await ours.note("request", "host-1")).toBeNull();
    const { client: storeClient, prefix: keyPrefix } = ours.limits;
    const limiter = new RateLimiterRedis({ storeClient, keyPrefix, points: 2, duration: 60 });
    expect((await limiter.consume("caller")).remainingPoints).toBe(1);
  });

  it("is not taken for another server's, nor opened by another password", async () => {
    await expect(directory(place(PASSWORD), null).connect()).rejects.toThrow(DirectoryUnavailable);
    await expect(directory(place("wrong"), certificate).connect()).rejects.toThrow(DirectoryUnavailable);
    const plain = new Redis({ host: "127.0.0.1", port, retryStrategy: () => null });
    plain.on("error", () => {});
    expect(await refusal(plain.ping())).not.toBe("done");
    plain.disconnect();
  });

  it("lets its user do nothing that a gateway does not", async () => {
    const user = client({ username: "kernelyard", password: PASSWORD });
    expect(await refusal(user.set("{ky:test}:x", "1"))).toBe("done");
    for (const words of [
      ["SET", "somebody:else", "1"],
      ["FLUSHALL"],
      ["KEYS", "*"],
      ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"],
      ["ACL", "LIST"],
      ["SHUTDOWN"],
      ["REPLICAOF", "127.0.0.1", "1"],
    ]) {
      const [name = "", ...rest] = words;
      expect(await refusal(user.call(name, ...rest)), name).toMatch(/NOPERM/);
    }
    user.disconnect();
  });

  it("writes what it is told to its disk, and drops nothing when it is full", async () => {
    const user = client({ username: "kernelyard", password: PASSWORD });
    const info = await user.info();
    user.disconnect();
    expect(info).toMatch(/^aof_enabled:1\r$/m);
    expect(info).toMatch(/^maxmemory_policy:noeviction\r$/m);
    expect(info).toMatch(/^maxmemory:201326592\r$/m);
  });

  it("has the password as a hash, and its key for itself", () => {
    const users = readFileSync(join(access, "users.acl"), "utf8");
    expect(users).not.toContain(PASSWORD);
    expect(users).toContain(createHash("sha256").update(PASSWORD).digest("hex"));
    for (const file of ["users.acl", "tls.key"])
      expect(statSync(join(access, file)).mode & 0o777).toBe(0o440);
  });

  it("has after a power cut what it had a second before, and lets nobody in without the password", async () => {
    const ours = directory(place(PASSWORD), certificate);
    await ours.connect();
    await ours.beat(SPEAKER, fields(), newName());
    const claimed = await ours.route("kept", "host-1");
    if (claimed.kind !== "claimed") throw new Error(`it is ${claimed.kind}`);
    const { epoch } = claimed;
    await ours.settle({ digest: "kept", host: "host-1", epoch }, { state: "live" });
    // `appendfsync everysec`; a killed process loses less than a machine.
    await delay(1_100);
    server.kill("SIGKILL");
    await once(server, "exit");
    await start();
    const again = directory(place(PASSWORD), certificate);
    await again.connect();
    expect(await again.route("kept", null)).toMatchObject({
      kind: "own",
      home: "host-1",
      epoch,
      ready: true,
    });
    for (const password of ["", "wrong", "nopass"]) {
      const stranger = client({});
      stranger.on("error", () => {});
      expect(await refusal(stranger.call("AUTH", "default", password))).toMatch(/WRONGPASS|NOAUTH/);
      stranger.disconnect();
    }
  });
});
