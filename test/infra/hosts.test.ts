/** Target hosts on the real Pulumi engine: a machine by ssh, prepared and deployed by the program, and repaired. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Stack, UpResult } from "@pulumi/pulumi/automation/index.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeployedClient } from "./client.ts";
import { serviceBase } from "./images.ts";
import { Machine } from "./machine.ts";
import { changes, openStack, SET_UP_WITHIN_MS, type TestStack } from "./stack.ts";

const STACK = `hosts-${process.pid}`;
const PREFIX = `kernelyard-${STACK}`;
const SESSION = `infra-hosts-${process.pid}`;
const SANDBOX_IMAGE = "custom-rce-kernel:latest";
const OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3fQyq6yV1Yj0m0m3Xc0mDb1Tq1Z0n6rWw0cX4yqk9b";

const output = (up: UpResult, name: string) => String(up.outputs[name]?.value);

describe("target hosts", () => {
  let machine: Machine | undefined;
  let opened: TestStack | undefined;
  let context = "";
  let stack: Stack;
  let client: DeployedClient;
  let first: UpResult;

  const there = (): Machine => {
    if (machine === undefined) throw new Error("the set-up has failed");
    return machine;
  };
  const hosts = (hostKey: string) => [{ name: "box-1", address: there().address, user: "root", hostKey }];

  beforeAll(async () => {
    machine = await Machine.start();
    const base = await serviceBase();
    await machine.bringImages([base, SANDBOX_IMAGE]);
    // The image is built already; here it matters how it gets to the machine, not what is in it.
    context = mkdtempSync(join(tmpdir(), "kernelyard-sandbox-context-"));
    writeFileSync(join(context, "Dockerfile.rce"), "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nLABEL test=hosts\n");
    opened = await openStack(STACK, {
      target: "hosts",
      hosts: hosts(machine.hostKey),
      sshKeyFile: machine.keyFile,
      sandboxContext: context,
      sandboxBaseImage: SANDBOX_IMAGE,
      serviceBaseImage: base,
      settings: { KERNELYARD_MEMORY_BUDGET: "2g", KERNELYARD_POOL_SIZE: "1", KERNELYARD_SESSION_DISK: "64m" },
    });
    stack = opened.stack;
    first = await stack.up();
    client = new DeployedClient(output(first, "librechatEnvironment"));
  }, SET_UP_WITHIN_MS);

  afterAll(async () => {
    await opened?.remove();
    await machine?.stop();
    rmSync(context, { recursive: true, force: true });
  });

  it("serves from the machine", async () => {
    expect(output(first, "endpoint")).toBe(`http://${there().address}:3112`);
    expect((await client.exec("x = 41", "conversation-1")).stderr).toBe("");
    expect((await client.exec("print(x + 1)", "conversation-1")).stdout).toContain("42");
    expect(
      await client.run(SESSION, "y = 7\nopen('/mnt/session_data/a.txt', 'w').write('mine')"),
    ).toBeDefined();
  });

  it("has a registry that asks for TLS and a password", async () => {
    const registry = output(first, "registry");
    const status = (flags: string) =>
      there().command(`curl -s -o /dev/null -w '%{http_code}' ${flags} https://${registry}/v2/ || true`);
    expect(await status("")).toBe("000");
    expect(await status(`--cacert /etc/docker/certs.d/${registry}/ca.crt`)).toBe("401");
  });

  it("changes nothing the second time", async () => {
    expect(await changes(stack)).toEqual(["same"]);
  });

  it("refuses a machine with another host key, before anything is changed", async () => {
    opened?.configure({ hosts: hosts(OTHER_KEY) });
    await expect(stack.up()).rejects.toThrow(
      /Nothing was changed[\s\S]*box-1[\s\S]*cannot be reached by ssh/,
    );
    opened?.configure({ hosts: hosts(there().hostKey) });
    expect((await client.exec("print(x)", "conversation-1")).stdout).toContain("41");
  });

  it("repairs a stopped engine and a deleted runtime entry", async () => {
    await there().command(
      `python3 - <<'END'
import json
path = "/etc/docker/daemon.json"
config = json.load(open(path))
del config["runtimes"]["runsc"]
json.dump(config, open(path, "w"))
END
       kill "$(cat /run/docker.pid)"
       while [ -e /run/docker.pid ]; do sleep 0.1; done`,
    );
    const repaired = await stack.up();
    expect(repaired.summary.resourceChanges?.update).toBe(1);
    expect(await there().command("docker info --format '{{json .Runtimes}}'")).toContain("oci-seccomp");
    expect(await client.run(SESSION, "print(open('/mnt/session_data/a.txt').read())")).toContain("mine");
    expect(await changes(stack)).toEqual(["same"]);
  });

  it("leaves nothing but what is protected", async () => {
    await stack.destroy({ excludeProtected: true });
    expect(await there().command("docker ps -aq")).toBe("");
    const volumes = (await there().command("docker volume ls -q")).split("\n").filter((line) => line !== "");
    expect(volumes.every((volume) => volume.startsWith("librechat_vol_"))).toBe(true);
    expect(await there().command("docker image ls --format '{{.Repository}}'")).not.toContain(PREFIX);
    expect(await there().command(`ls /etc/${PREFIX} 2>/dev/null || true`)).toBe("");
  });
});
