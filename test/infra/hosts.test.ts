/**
 * Target hosts on the real Pulumi engine, with the sample's defaults: two machines by ssh, one of them reached by somebody who
 * is not root and with an engine as Amazon Linux has it; prepared, deployed, put behind one address, repaired, rebooted, one removed and
 * one added.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { Stack, UpResult } from "@pulumi/pulumi/automation/index.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { sessionDigest } from "../../gateway/server/sessions/session-key.ts";
import { type S3Server, startS3, TEST_CREDENTIALS } from "../integration/files/s3-server.ts";
import { DeployedClient } from "./client.ts";
import { SANDBOX_BASE, SERVICE_BASE, sandboxImage } from "./images.ts";
import { AMAZON_ULIMIT, Machine } from "./machine.ts";
import { changes, openStack, SET_UP_WITHIN_MS, type TestStack } from "./stack.ts";
import { verify } from "./verify.ts";

const STACK = `hosts-${process.pid}`;
const PREFIX = `kernelyard-${STACK}`;
const SESSION = `infra-hosts-${process.pid}`;
/** Five seconds of rest, once a minute at most, and a busy machine. */
const SAVED_WITHIN_MS = 120_000;
const OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3fQyq6yV1Yj0m0m3Xc0mDb1Tq1Z0n6rWw0cX4yqk9b";

const Exported = z.object({
  deployment: z.object({ resources: z.array(z.object({ urn: z.string() })) }),
});

const output = (up: UpResult, name: string) => String(up.outputs[name]?.value);

describe("target hosts", () => {
  const machines: Machine[] = [];
  let opened: TestStack | undefined;
  let stack: Stack;
  let client: DeployedClient;
  let second: DeployedClient;
  let first: UpResult;
  let s3: S3Server;

  const test = (): TestStack => {
    if (opened === undefined) throw new Error("the set-up has failed");
    return opened;
  };
  let bucket = "";
  const machine = (index: number): Machine => {
    const found = machines[index];
    if (found === undefined) throw new Error("the set-up has failed");
    return found;
  };
  const entries = (...indices: readonly number[]) =>
    indices.map((index) => machine(index).entry(`box-${index + 1}`));
  const environmentAt = (index: number) =>
    output(first, "librechatEnvironment").replace(machine(0).address, machine(index).address);
  const containers = (index: number) => machine(index).command("docker ps -a --format '{{.Names}}'");

  async function urnOf(name: string): Promise<string> {
    const { deployment } = Exported.parse(JSON.parse(await test().pulumi("stack", "export")));
    const found = deployment.resources.find(({ urn }) => urn.endsWith(`::${name}`));
    if (found === undefined) throw new Error(`the stack has no ${name}`);
    return found.urn;
  }

  beforeAll(async () => {
    const images = [SANDBOX_BASE, SERVICE_BASE, await sandboxImage()];
    machines.push(await Machine.start(), await Machine.start({ user: "deployer", amazon: true }));
    await machine(0).bringImages(images);
    // The operator's bucket, by an address that is there as long as the second machine.
    s3 = await startS3(machine(1).gateway);
    bucket = await s3.makeBucket();
    opened = await openStack("hosts", STACK, {
      hosts: entries(0, 1),
      // The two have one operator, whose key outlives the first machine.
      sshKeyFile: machine(1).keyFile,
      fileStore: { bucket, endpoint: s3.endpoint },
    });
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = TEST_CREDENTIALS;
    await opened.pulumi("config", "set", "--secret", "fileStoreKey", `${id}:${secret}`);
    await machine(0).command(`cat >>/etc/ssh/machine_authorized <<'END'\n${machine(1).publicKey}\nEND`);
    // The operator's checkout is not root's, and their group may write to it.
    const scripts = join(opened.checkout, "gateway/host");
    execFileSync("chown", ["-R", "1000:1000", scripts]);
    execFileSync("chmod", ["-R", "g+w", scripts]);
    stack = opened.stack;
    first = await stack.up();
    client = new DeployedClient(output(first, "librechatEnvironment"));
    second = new DeployedClient(environmentAt(1));
  }, SET_UP_WITHIN_MS);

  afterAll(async () => {
    try {
      await opened?.remove();
    } finally {
      await s3?.stop();
      for (const one of machines) await one.stop();
    }
  });

  const OF_SESSION = `workspaces/${sessionDigest({ kind: "named", tenant: "default", name: SESSION })}/`;
  const savedFiles = async () => ((await s3?.keys(bucket)) ?? []).filter((key) => key.startsWith(OF_SESSION));

  /** What holds data goes only when an operator says so. */
  const release = async (name: string) => test().pulumi("state", "unprotect", await urnOf(name), "--yes");

  it("serves from both machines, a session from whichever is called", async () => {
    expect(first.outputs.endpoints?.value).toEqual(machines.map((one) => `http://${one.address}:3112`));
    expect((await client.exec("x = 41", "conversation-1")).stderr).toBe("");
    const other = await second.exec(
      "print(x + 1)\nopen('/mnt/data/made.txt', 'w').write('by one')",
      "conversation-1",
    );
    expect(other.stdout).toMatch(/^42\n/);
    expect(other.stderr).toBe("");
    // Its file is in the bucket: both serve it.
    const [file] = other.files;
    if (file === undefined) throw new Error("no file came of it");
    for (const each of [client, second])
      expect(await each.download(file.storage_session_id ?? other.session_id, file.id)).toBe("by one");
    await second.run(SESSION, "y = 7\nopen('/mnt/session_data/a.txt', 'w').write('mine')");
    await client.run(SESSION, "open('/mnt/session_data/b.txt', 'w').write(f'theirs {y}')");
    expect((await second.exec("print(6 * 7)")).stdout).toContain("42");
  });

  it("has one address when its operator asks for one, whichever machine is away", async () => {
    test().configure({ entryPort: 3110 });
    const up = await stack.up();
    const entry = new DeployedClient(output(up, "librechatEnvironment"));
    expect(entry.origin).toBe(`http://${machine(0).address}:3110`);
    const inspect = (what: string) =>
      machine(0)
        .command(`docker inspect --format '${what}' ${PREFIX}-entry`)
        .then((said) => said.trim());
    expect(await inspect("{{.State.Health.Status}} {{.Config.User}} {{.HostConfig.ReadonlyRootfs}}")).toBe(
      "healthy 10005:10005 true",
    );
    expect((await entry.exec("print(x)", "conversation-1")).stdout).toMatch(/^41\n/);
    // Wherever the entry sends it, a session is where it was.
    for (let n = 0; n < 4; n += 1) await entry.run(SESSION, `print(y, ${n})`);
    await machine(1).command(`docker stop ${PREFIX}-gateway`);
    for (let n = 0; n < 4; n += 1) expect((await entry.exec(`print(${n})`)).stdout).toBe(`${n}\n`);
    await machine(1).command(`docker start ${PREFIX}-gateway`);
    await second.untilHealthy(60);
    expect(await changes(stack)).toEqual(["same"]);
    const started = await inspect("{{.State.StartedAt}}");
    // As a changed configuration is taken: while it serves.
    await machine(0).command(
      `docker kill --signal USR2 ${PREFIX}-entry && docker exec ${PREFIX}-entry haproxy -c -q -f /etc/entry/haproxy.cfg`,
    );
    expect((await entry.exec("print(x)", "conversation-1")).stdout).toMatch(/^41\n/);
    expect(await inspect("{{.State.StartedAt}}")).toBe(started);
    test().configure({ entryPort: "" });
    await stack.up();
    expect(await containers(0)).not.toContain("entry");
    expect(await machine(0).command(`ls -d /etc/${PREFIX}/entry 2>/dev/null || true`)).toBe("");
    expect((await client.exec("print(x)", "conversation-1")).stdout).toMatch(/^41\n/);
  });

  it("has one directory, written to a disk, which nobody opens without the password, and no sandbox at all", async () => {
    const place = `${machine(0).address}:6379`;
    const certificate = `/etc/${PREFIX}/valkey/tls.crt`;
    expect(
      await machine(0).command(`docker inspect --format '{{.State.Health.Status}}' ${PREFIX}-valkey`),
    ).toBe("healthy\n");
    expect(await containers(1)).not.toContain("valkey");
    const ping = `docker exec ${PREFIX}-valkey directory-cli --tls --insecure -p 6379 ping 2>&1 || true`;
    expect(await machine(0).command(ping)).toContain("NOAUTH");
    // The other machine is served by TLS.
    const shown = `timeout 10 openssl s_client -connect ${place} </dev/null 2>/dev/null | grep -c 'BEGIN CERTIFICATE' || true`;
    expect((await machine(1).command(shown)).trim()).toBe("1");
    expect(await machine(0).command(`openssl x509 -in ${certificate} -noout -ext subjectAltName`)).toContain(
      machine(0).address,
    );
    const reached = `import socket\ntry:\n  socket.create_connection(("${machine(0).address}", 6379), 2)\n  print("open")\nexcept OSError:\n  print("closed")`;
    expect((await client.exec(reached)).stdout).toBe("closed\n");
  });

  it("is verified from outside, with less than TLS", async () => {
    const { code, findings } = await verify(client.origin, output(first, "librechatEnvironment"));
    const less = [...findings].filter(([, said]) => !said.startsWith("holds"));
    expect(less).toEqual([["transport", expect.stringMatching(/^weaker: plain HTTP/)]]);
    expect(code).toBe(0);
  });

  it("lets who deploys use the engine, and leaves nothing that is theirs in root's hands", async () => {
    expect(await machine(1).command("id -nG deployer")).toContain("docker");
    const owners = await machine(1).command(
      "find /usr/local/share/kernelyard ! -user root -o -perm /022 ! -type l",
    );
    expect(owners).toBe("");
    const engine = await machine(1).command("tr '\\0' ' ' <\"/proc/$(cat /run/docker.pid)/cmdline\"");
    expect(engine).toContain(AMAZON_ULIMIT);
    expect(await machine(1).command("cat /etc/docker/daemon.json")).not.toContain("default-ulimits");
  });

  it("has a registry that asks for TLS and a password, by a certificate that outlives its operators", async () => {
    const registry = output(first, "registry");
    const status = (flags: string) =>
      machine(0).command(`curl -s -o /dev/null -w '%{http_code}' ${flags} https://${registry}/v2/ || true`);
    expect(await status("")).toBe("000");
    expect(await status(`--cacert /etc/docker/certs.d/${registry}/ca.crt`)).toBe("401");
    const years = 9 * 365 * 86_400;
    await machine(0).command(
      `openssl x509 -in /etc/docker/certs.d/${registry}/ca.crt -noout -checkend ${years}`,
    );
  });

  it("changes nothing the second time, after a refresh, and for an operator with another folder, home and umask", async () => {
    expect(await changes(stack)).toEqual(["same"]);
    expect(Object.keys((await stack.refresh()).summary.resourceChanges ?? {})).toEqual(["same"]);
    expect(await changes(stack)).toEqual(["same"]);
    expect(await changes(await test().elsewhere())).toEqual(["same"]);
  });

  it("refuses a machine with another host key, before anything is changed", async () => {
    test().configure({ hosts: [{ ...machine(0).entry("box-1"), hostKey: OTHER_KEY }, ...entries(1)] });
    await expect(stack.up()).rejects.toThrow(
      /Nothing was changed[\s\S]*box-1[\s\S]*cannot be reached by ssh/,
    );
    test().configure({ hosts: entries(0, 1) });
    expect((await client.exec("print(x)", "conversation-1")).stdout).toContain("41");
  });

  it("repairs a stopped engine, a deleted runtime entry, a user without the engine, and a certificate that ends", async () => {
    await machine(0).command(
      `python3 - <<'END'
import json
path = "/etc/docker/daemon.json"
config = json.load(open(path))
del config["runtimes"]["runsc"]
json.dump(config, open(path, "w"))
END
       systemctl stop docker
       cd /etc/${PREFIX}/registry
       openssl req -x509 -key tls.key -days 10 -out tls.crt -subj /CN=${machine(0).address} \
         -addext subjectAltName=IP:${machine(0).address} 2>/dev/null`,
    );
    await machine(1).command("gpasswd -d deployer docker");
    const repaired = await stack.up();
    // Both machines, the certificate, the other machine's trust in it; the directory's is looked at, and stays.
    expect(repaired.summary.resourceChanges).toMatchObject({ update: 5 });
    expect(repaired.summary.resourceChanges).not.toHaveProperty("replace");
    expect(await machine(0).command("docker info --format '{{json .Runtimes}}'")).toContain("oci-seccomp");
    // The launcher, which live restore let run on, was refused meanwhile, and finds out by itself.
    await client.untilHealthy(120);
    expect(await client.run(SESSION, "print(open('/mnt/session_data/a.txt').read())")).toContain("mine");
    const served = `openssl s_client -connect ${output(first, "registry")} </dev/null 2>/dev/null | openssl x509 -noout -checkend 31536000`;
    expect(await machine(0).command(served)).toContain("will not expire");
    expect(await changes(stack)).toEqual(["same"]);
  });

  it("survives a reboot of every machine", async () => {
    const before = await savedFiles();
    await client.run(SESSION, "open('/mnt/session_data/c.txt', 'w').write('kept')");
    // A machine that is away for longer than its lease has its sessions taken over, with their files as they were last saved.
    await expect
      .poll(async () => (await savedFiles()).some((key) => !before.includes(key)), {
        timeout: SAVED_WITHIN_MS,
        interval: 500,
      })
      .toBe(true);
    await Promise.all(machines.map((one) => one.reboot()));
    for (const one of [client, second]) await one.untilHealthy(120);
    expect(await client.run(SESSION, "print(open('/mnt/session_data/c.txt').read())")).toContain("kept");
    expect(await second.run(SESSION, "print(open('/mnt/session_data/b.txt').read())")).toContain("theirs");
    expect(await changes(stack)).toEqual(["same"]);
    const registry = output(first, "registry");
    expect(
      await machine(1).command(
        `curl -s -o /dev/null -w '%{http_code}' --cacert /etc/docker/certs.d/${registry}/ca.crt https://${registry}/v2/`,
      ),
    ).toBe("401");
  });

  it("lets a machine go: its data first, then its entry; and takes another one in its place", async () => {
    // Its sessions first: on the other machine while there are two, with their files.
    await second.run("leaving", "open('/mnt/session_data/mine.txt', 'w').write('moved')");
    const drain = `docker exec ${PREFIX}-gateway node gateway/image/drain.ts`;
    expect(await machine(1).command(drain)).toContain("Drained");
    for (const session of ["leaving", SESSION]) await client.run(session, "print('here')");
    test().configure({ hosts: entries(0) });
    await expect(stack.up()).rejects.toThrow(/protected/);
    await release("kernelyard-box-2-data-folder");
    await release("kernelyard-valkey-box-1-volume");
    await stack.up();
    expect(await containers(1)).toBe("");
    // One machine is alone.
    expect(await containers(0)).not.toContain("valkey");
    expect(await machine(1).command(`ls -d /var/lib/${PREFIX} 2>/dev/null || true`)).toBe("");
    expect(await machine(1).command("docker image ls --format '{{.Repository}}'")).not.toContain(PREFIX);
    expect(await client.run(SESSION, "print(open('/mnt/session_data/c.txt').read())")).toContain("kept");
    expect(await client.run("leaving", "print(open('/mnt/session_data/mine.txt').read())")).toContain(
      "moved",
    );
    expect(await changes(stack)).toEqual(["same"]);

    test().configure({ hosts: entries(0, 1) });
    await stack.up();
    expect((await second.exec("print(6 * 7)")).stdout).toContain("42");
  });

  it("leaves nothing but what is protected", async () => {
    await stack.destroy({ excludeProtected: true });
    expect(await containers(1)).toBe("");
    const volumes = await machine(1).command("docker volume ls -q");
    expect(volumes.split("\n").filter((name) => !/^(librechat_vol_.*)?$/.test(name))).toEqual([]);
    expect(await machine(1).command("docker image ls --format '{{.Repository}}'")).not.toContain(PREFIX);
    expect(await machine(1).command(`ls /etc/${PREFIX} 2>/dev/null || true`)).toBe("");
  });
});
