/** Target local on the real Pulumi engine and the real Docker engine, with the sample's defaults: up, again, a change, down. */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Stack, UpResult } from "@pulumi/pulumi/automation/index.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureLock } from "../../sandbox-image/tools/lock.ts";
import { setup as installClients } from "../contract/support/install-clients.ts";
import { freePort } from "../support/free-port.ts";
import { DeployedClient, watchDowntime } from "./client.ts";
import { changes, openStack, SET_UP_WITHIN_MS, type TestStack } from "./stack.ts";
import { cachingProxy, verify } from "./verify.ts";

const run = promisify(execFile);
const STACK = `local-${process.pid}`;
const SESSION = `infra-${process.pid}`;
const PREFIX = `kernelyard-${STACK}`;

async function docker(...args: string[]): Promise<string[]> {
  const { stdout } = await run("docker", args);
  return stdout.split("\n").filter((line) => line !== "");
}

const containers = async () => {
  const instance = `/var/lib/${PREFIX}/instance`;
  const sandboxes = existsSync(instance)
    ? await docker(
        "ps",
        "-aq",
        "--filter",
        `label=kernelyard.instance=${readFileSync(instance, "utf8").trim()}`,
      )
    : [];
  return [
    ...(await docker("ps", "-a", "--format", "{{.Names}}", "--filter", `name=${PREFIX}`)),
    ...sandboxes,
  ];
};
const loops = () =>
  readdirSync("/sys/block")
    .filter((name) => existsSync(`/sys/block/${name}/loop/backing_file`))
    .map((name) => readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8"))
    .filter((file) => file.includes(PREFIX));
const images = async () =>
  (await docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")).filter((name) =>
    name.includes(PREFIX),
  );
/** By repository: tags that the stack's registry has. */
const pushedTags = async (repository: string) =>
  docker(
    "exec",
    `${PREFIX}-registry`,
    "ls",
    `/var/lib/registry/docker/registry/v2/repositories/${PREFIX}/${repository}/_manifests/tags`,
  );

const output = (up: UpResult, name: string) => String(up.outputs[name]?.value);

describe("target local", () => {
  let opened: TestStack | undefined;
  let stack: Stack;
  let client: DeployedClient;
  let first: UpResult;
  let withLibrary = "";

  const test = (): TestStack => {
    if (opened === undefined) throw new Error("the set-up has failed");
    return opened;
  };
  const sandboxFile = (name: string) => join(test().checkout, "sandbox-image", name);

  beforeAll(async () => {
    installClients();
    opened = await openStack("local", STACK, { port: await freePort(), registryPort: await freePort() });
    stack = opened.stack;
    first = await stack.up();
    client = new DeployedClient(output(first, "librechatEnvironment"));
  }, SET_UP_WITHIN_MS);

  afterAll(async () => {
    await opened?.remove();
  });

  it("serves LibreChat with the environment that it prints: state kept, a file out", async () => {
    expect(first.outputs.librechatEnvironment?.secret).toBe(true);
    expect(first.outputs.sandboxImage?.secret).toBe(false);
    const execute = client.librechat("v2:conversation:1");
    expect((await execute("x = 41")).artifact).toMatchObject({ runtime_status: "new" });
    const second = await execute("print(x + 1); open('out.txt', 'w').write('kept')");
    expect(second.content).toContain("42");
    expect(second.artifact).toMatchObject({ runtime_status: "reused" });
    const file = second.artifact.files?.find((one) => one.name === "out.txt");
    const session = file?.storage_session_id ?? file?.session_id ?? second.artifact.session_id ?? "";
    expect(await client.download(session, file?.id ?? "")).toBe("kept");
    await client.run(SESSION, "y = 7\nopen('/mnt/session_data/a.txt', 'w').write('mine')");
  });

  it("puts nothing of the building machine into an image", async () => {
    for (const name of ["sandboxImage", "gatewayImage"]) {
      const image = output(first, name);
      const history = (await docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)).join("\n");
      expect(history).not.toMatch(/proxy|_authToken|BEGIN CERTIFICATE/i);
      const find = ["/build-machine", "/build", "/root/.npmrc", "/etc/pip.conf"];
      const found = await docker(
        "run",
        "--rm",
        "--network=none",
        "--user=0",
        "--entrypoint=sh",
        image,
        "-c",
        `ls -d ${find.join(" ")} 2>/dev/null; true`,
      );
      expect(found).toEqual([]);
    }
  });

  it("changes nothing the second time, after a refresh, and for an operator with another folder, home and umask", async () => {
    expect(await changes(stack)).toEqual(["same"]);
    const refreshed = await stack.refresh();
    expect(Object.keys(refreshed.summary.resourceChanges ?? {})).toEqual(["same"]);
    const preview = await stack.preview();
    expect(Object.keys(preview.changeSummary)).toEqual(["same"]);
    expect(await changes(await test().elsewhere())).toEqual(["same"]);
    expect(await client.run(SESSION, "print(y)")).toContain("7");
  });

  it("refuses a list whose lock was not made, before it changes anything", async () => {
    const list = sandboxFile("rce_requirements.txt");
    const before = readFileSync(list, "utf8");
    appendFileSync(list, "roman\n");
    await expect(stack.up()).rejects.toThrow(/Nothing was changed[\s\S]*npm run lock/);
    writeFileSync(list, before);
  });

  it("leaves what runs alone when the new image cannot be built, or does not work under gVisor", async () => {
    const recipe = sandboxFile("Dockerfile.rce");
    const before = readFileSync(recipe, "utf8");
    const tags = await pushedTags("custom-rce-kernel");
    writeFileSync(recipe, before.replace(/USER 10001:10001\n$/, "RUN exit 7\nUSER 10001:10001\n"));
    await expect(stack.up()).rejects.toThrow(/Building the sandbox image failed/);
    // This one builds.
    const breaks = `RUN cd /opt/python/lib/python3.11/site-packages/pandas && rm -r __pycache__ && echo 'raise ImportError("planted")' >__init__.py`;
    writeFileSync(recipe, before.replace(/USER 10001:10001\n$/, `${breaks}\nUSER 10001:10001\n`));
    await expect(stack.up()).rejects.toThrow(/does not work as a sandbox under runsc[\s\S]*import pandas/);
    writeFileSync(recipe, before);
    expect(await pushedTags("custom-rce-kernel")).toEqual(tags);
    expect(await client.run(SESSION, "print(y)")).toContain("7");
  });

  it("brings a new library to new kernels; running ones and their files stay", async () => {
    await expect(client.exec("import roman", "conversation-2")).resolves.toMatchObject({
      stderr: expect.stringContaining("ModuleNotFoundError"),
    });
    const list = sandboxFile("rce_requirements.txt");
    appendFileSync(list, "roman\n");
    await ensureLock({ list, lock: sandboxFile("rce_requirements.lock"), constraints: [] }, () => {});
    const downtime = watchDowntime(client.origin);
    const began = Date.now();
    const up = await stack.up();
    const upMs = Date.now() - began;
    const downMs = await downtime.stop();
    process.stdout.write(`target local: the endpoint was away for ${downMs} ms while a library was added\n`);
    withLibrary = output(up, "sandboxImage");
    expect(withLibrary).not.toBe(output(first, "sandboxImage"));
    // A new image is built and verified beside what serves; away is the endpoint only while the services are exchanged.
    expect(downMs).toBeLessThan(upMs / 2);
    const fresh = await client.exec("import roman; print(roman.toRoman(42))", "conversation-3");
    expect(fresh.stdout).toContain("XLII");
    expect(await client.run(SESSION, "print(open('/mnt/session_data/a.txt').read())")).toContain("mine");
  });

  it("has a console, on this machine alone, for who has the operator's key", async () => {
    const [key, port] = [randomBytes(32).toString("hex"), await freePort()];
    const digest = createHash("sha256").update(key).digest("hex");
    const set = (name: string, value: string) =>
      test().pulumi("config", "set", "--path", `settings.KERNELYARD_${name}`, value);
    await set("OPERATOR_KEY", `sha256:${digest}`);
    // Another stack of this machine may have the default.
    await set("CONSOLE_PORT", String(port));
    await stack.up();
    expect(await docker("port", `${PREFIX}-gateway`, String(port))).toEqual([`127.0.0.1:${port}`]);
    const origin = `http://127.0.0.1:${port}`;
    const signIn = (word: string) =>
      fetch(`${origin}/sign-in`, {
        method: "POST",
        headers: { origin, "sec-fetch-site": "same-origin" },
        body: new URLSearchParams({ key: word }),
        redirect: "manual",
      });
    expect((await signIn(digest)).status).toBe(401);
    const cookie = (await signIn(key)).headers.get("set-cookie")?.split(";", 1)[0] ?? "";
    const sessions = await fetch(`${origin}/sessions`, { headers: { cookie } });
    expect([sessions.status, await sessions.text()]).toEqual([200, expect.stringContaining(SESSION)]);
  });

  it("keeps of its images the current ones, one to go back to, and what still runs", async () => {
    const marked = sandboxFile("matplotlibrc");
    const change = async (word: string) => {
      appendFileSync(marked, `# ${word}\n`);
      return output(await stack.up(), "sandboxImage");
    };
    await change("one");
    // The kernel that has the library ends; the one of the first image runs on.
    await docker("rm", "--force", ...(await docker("ps", "-q", "--filter", `ancestor=${withLibrary}`)));
    const current = await change("two");
    expect((await pushedTags("custom-rce-kernel")).length).toBe(2);
    expect((await pushedTags("gateway")).length).toBe(1);
    const here = await docker("image", "ls", "--digests", "--format", "{{.Repository}}@{{.Digest}}");
    expect(here).toEqual(expect.arrayContaining([current, output(first, "sandboxImage")]));
    expect(here).not.toContain(withLibrary);
    expect(await changes(stack)).toEqual(["same"]);
    expect((await client.exec("print(6 * 7)")).stdout).toContain("42");
  });

  it("is verified from outside; each of three planted faults is found", async () => {
    const environment = output(first, "librechatEnvironment");
    const good = await verify(client.origin, environment);
    expect([...good.findings].filter(([, said]) => !said.startsWith("holds"))).toEqual([]);
    expect(good.findings.size).toBeGreaterThan(25);
    expect(good.text).toContain(`Verified: all ${good.findings.size} checks hold.`);
    expect(good.code).toBe(0);

    const proxy = await cachingProxy(client.origin);
    const behind = await verify(proxy.origin, environment);
    proxy.end();
    expect(behind.findings.get("files in and out")).toMatch(/^broken: .*another user and a stranger/);
    expect(behind.code).toBe(1);

    test().configure({ isolation: "runc-unsafe", auth: "none" });
    const up = await stack.up();
    const unsafe = await verify(client.origin, output(up, "librechatEnvironment"));
    expect(unsafe.findings.get("kernel of the sandbox")).toMatch(/^broken: not gVisor's/);
    expect(unsafe.findings.get("no code for strangers")).toMatch(/^broken: .*no credentials: 200/);
    expect(unsafe.findings.get("sessions keep their state")).toMatch(/^holds/);
    expect(unsafe.text).toMatch(/Not verified: \d of \d+ checks are broken/);
    expect(unsafe.code).toBe(1);
  });

  it("leaves nothing but what is protected", async () => {
    await stack.destroy({ excludeProtected: true });
    expect(await containers()).toEqual([]);
    expect(await docker("network", "ls", "--format", "{{.Name}}", "--filter", `name=${PREFIX}`)).toEqual([]);
    expect(await docker("volume", "ls", "--format", "{{.Name}}", "--filter", `name=${PREFIX}`)).toEqual([]);
    expect(await images()).toEqual([]);
    expect(loops()).toEqual([]);
    expect(existsSync(`/var/lib/${PREFIX}/volumes/images/librechat_vol_${SESSION}.ext4`)).toBe(true);
  });

  it("removes the data too when its protection is taken away", async () => {
    test().configure({ protectData: false, isolation: "runsc", auth: "api-key,jwt" });
    // The keys went with the stack, and new ones were made.
    const up = await stack.up();
    const again = new DeployedClient(output(up, "librechatEnvironment"));
    expect(await again.run(SESSION, "print(open('/mnt/session_data/a.txt').read())")).toContain("mine");
    await stack.destroy();
    expect(existsSync(`/var/lib/${PREFIX}`)).toBe(false);
    expect(await docker("volume", "ls", "-q", "--filter", `name=librechat_vol_${SESSION}`)).toEqual([]);
    expect(await containers()).toEqual([]);
  });
});
