/** The host kernel's own limit, without a supervisor that ends code before it is reached. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sandbox } from "../../../gateway/common/protocol/launcher-api.ts";
import { FRESH, LauncherProcess } from "./client.ts";
import { docker } from "./host.ts";

const SANDBOX_IMAGE = process.env.KERNELYARD_IMAGE ?? "custom-rce-kernel:latest";
/** Waits for the first byte, so that the sandbox is up, and takes memory without end. */
const PROGRAM = [
  "import sys",
  "sys.stdin.buffer.raw.read(1)",
  "held = []",
  "while True: held.append(bytearray(b'x' * (8 << 20)))",
].join("\n");

const repo = "kernelyard-test-greedy";
const tag = randomBytes(6).toString("hex");
const launcher = new LauncherProcess({
  KERNELYARD_IMAGE: `${repo}:${tag}`,
  KERNELYARD_MEMORY: "256m",
  KERNELYARD_FRESH_DISK: "64m",
});

beforeAll(async () => {
  const container = await docker.createContainer({
    Image: SANDBOX_IMAGE,
    Entrypoint: ["python3", "-c", PROGRAM],
    Cmd: [],
  });
  await container.commit({ repo, tag });
  await container.remove();
  await launcher.start();
});
afterAll(async () => {
  await launcher[Symbol.asyncDispose]();
  await docker.getImage(`${repo}:${tag}`).remove();
});

test("a sandbox that the host's kernel kills at its memory limit has ended out_of_memory", async () => {
  const made = await launcher.create(FRESH);
  const stream = await launcher.attach(made.id);
  const answered = stream.hello().catch((error: Error) => error.message);
  await stream.ended;
  expect(await answered).toBe("the stream ended");
  await launcher.logged(`"sandbox":"${made.id}","reason":`);
  const { ended } = Sandbox.parse((await launcher.call("GET", `/sandboxes/${made.id}`)).body);
  expect(ended).toMatchObject({ reason: "out_of_memory", exit_code: 137 });
});
