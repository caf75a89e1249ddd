/** The gateway's own process, as a service manager starts it: alone, before there is a launcher. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, it, onTestFinished } from "vitest";
import { gatewayMemory, heapFlags } from "../../../gateway/common/gateway-memory.ts";

const ROOT = join(import.meta.dirname, "../../..");

it("is ready without a launcher, and ends when it is asked to", async () => {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-process-"));
  // The user that it becomes has to reach it.
  chmodSync(directory, 0o777);
  const flags = heapFlags(gatewayMemory(1024 ** 3));
  const gateway = spawn(process.execPath, [...flags, "gateway/server/main.ts", "--user", "daemon"], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH ?? "",
      KERNELYARD_DATA_DIR: directory,
      KERNELYARD_LAUNCHER_SOCKET: join(directory, "launcher.sock"),
      KERNELYARD_PORT: "0",
      KERNELYARD_AUTH: "api-key",
      KERNELYARD_API_KEYS: "test-key-0123456789",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    gateway.kill("SIGKILL");
    rmSync(directory, { recursive: true });
  });
  const ended = once(gateway, "exit");
  const said: string[] = [];
  gateway.stderr.on("data", (text: Buffer) => said.push(text.toString()));
  const ready = new Promise<void>((resolve) => {
    createInterface({ input: gateway.stdout }).on("line", (line) => {
      said.push(line);
      if (line.includes('"msg":"ready"')) resolve();
    });
  });
  const first = await Promise.race([ready.then(() => "ready"), ended.then(() => said.join("\n"))]);
  expect(first).toBe("ready");
  gateway.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});
