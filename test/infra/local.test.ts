/** Target local on the real Pulumi engine and the real Docker engine: up, again, a change, down. */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import type { Stack, UpResult } from "@pulumi/pulumi/automation/index.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setup as installClients } from "../contract/support/install-clients.ts";
import { freePort } from "../support/free-port.ts";
import { DeployedClient, watchDowntime } from "./client.ts";
import { debianBase, SandboxContext, serviceBase } from "./images.ts";
import { changes, openStack, SET_UP_WITHIN_MS, type TestStack } from "./stack.ts";

const run = promisify(execFile);
const STACK = `local-${process.pid}`;
/** Volume names are one for the whole engine. */
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

const output = (up: UpResult, name: string) => String(up.outputs[name]?.value);

describe("target local", () => {
  let test: TestStack | undefined;
  let stack: Stack;
  let sandbox: SandboxContext | undefined;
  let client: DeployedClient;
  let first: UpResult;

  const context = (): SandboxContext => {
    if (sandbox === undefined) throw new Error("the set-up has failed");
    return sandbox;
  };

  beforeAll(async () => {
    installClients();
    sandbox = new SandboxContext();
    const opened = await openStack(STACK, {
      target: "local",
      port: await freePort(),
      registryPort: await freePort(),
      sandboxContext: sandbox.folder,
      sandboxBaseImage: await debianBase(),
      serviceBaseImage: await serviceBase(),
      settings: {
        KERNELYARD_MEMORY_BUDGET: "6g",
        KERNELYARD_POOL_SIZE: "1",
        KERNELYARD_SESSION_DISK: "64m",
      },
    });
    test = opened;
    stack = opened.stack;
    first = await stack.up();
    client = new DeployedClient(output(first, "librechatEnvironment"));
  }, SET_UP_WITHIN_MS);

  afterAll(async () => {
    await test?.remove();
    sandbox?.remove();
  });

  it("serves LibreChat with the environment that it prints: state kept, a file out", async () => {
    expect(first.outputs.librechatEnvironment?.secret).toBe(true);
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

  it("changes nothing the second time", async () => {
    expect(await changes(stack)).toEqual(["same"]);
    expect(await client.run(SESSION, "print(y)")).toContain("7");
  });

  it("leaves what runs alone when the new image cannot be built", async () => {
    const repair = context().breakBuild();
    await expect(stack.up()).rejects.toThrow();
    repair();
    expect(await client.run(SESSION, "print(y)")).toContain("7");
  });

  it("brings a new library to new kernels; running ones and their files stay", async () => {
    await expect(client.exec("import roman", "conversation-2")).resolves.toMatchObject({
      stderr: expect.stringContaining("ModuleNotFoundError"),
    });
    await context().addLibrary("roman");
    const downtime = watchDowntime(client.origin);
    const began = Date.now();
    const up = await stack.up();
    const upMs = Date.now() - began;
    const downMs = await downtime.stop();
    process.stdout.write(`target local: the endpoint was away for ${downMs} ms while a library was added\n`);
    expect(output(up, "sandboxImage")).not.toBe(output(first, "sandboxImage"));
    // A new image is built and verified beside what serves; away is the endpoint only while the services are exchanged.
    expect(downMs).toBeLessThan(upMs / 2);
    const fresh = await client.exec("import roman; print(roman.toRoman(42))", "conversation-3");
    expect(fresh.stdout).toContain("XLII");
    expect(await client.run(SESSION, "print(open('/mnt/session_data/a.txt').read())")).toContain("mine");
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
    test?.configure({ protectData: false });
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
