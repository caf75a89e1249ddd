/** The gateway's own process, as a service manager starts it: alone, before there is a launcher. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, it, onTestFinished } from "vitest";
import { gatewayMemory, heapFlags } from "../../../gateway/common/gateway-memory.ts";

const ROOT = join(import.meta.dirname, "../../..");

it("is ready without a launcher and where its metrics' port is taken, and ends when it is asked to", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const taken = other.address();
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
      KERNELYARD_METRICS_PORT: String(typeof taken === "object" && taken !== null ? taken.port : ""),
      KERNELYARD_AUTH: "api-key",
      KERNELYARD_API_KEYS: "test-key-0123456789",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    other.close();
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
  expect(said.join("\n")).toContain("change KERNELYARD_METRICS_HOST or KERNELYARD_METRICS_PORT");
});
