/**
 * Two gateways as processes, as a service manager starts them, with leases of the real length; one of them stands still for longer
 * than its lease. Launchers are stand-ins, and the bucket is an answer that it is empty: whatever else is asked of it fails the test.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { expect, it, onTestFinished } from "vitest";
import { freePort } from "../support/free-port.ts";
import { RedisServer } from "../support/redis/redis-server.ts";
import { LauncherStandIn } from "../unit/sessions/launcher-stand-in.ts";
import { newFleet } from "./fleet-under-test.ts";

const ROOT = join(import.meta.dirname, "../..");
const KEY = "test-key-0123456789";

async function emptyBucket() {
  const unexpected: string[] = [];
  const server = createServer((asked, response) => {
    const { searchParams } = new URL(asked.url ?? "", "http://bucket");
    const kind = searchParams.has("uploads") ? "ListMultipartUploads" : "ListBucket";
    if (kind === "ListBucket" && !searchParams.has("list-type"))
      unexpected.push(`${asked.method} ${asked.url}`);
    response.setHeader("content-type", "application/xml");
    response.end(`<${kind}Result><IsTruncated>false</IsTruncated></${kind}Result>`);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
    expect(unexpected).toEqual([]);
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}

interface GatewayProcess {
  readonly child: ChildProcess;
  readonly launcher: LauncherStandIn;
  run(code: string): Promise<{ stdout?: string; stderr?: string; error?: string }>;
}

async function startGatewayProcess(env: Record<string, string>): Promise<GatewayProcess> {
  const launcher = new LauncherStandIn();
  await launcher.start();
  // The user that it becomes has to reach it.
  chmodSync(dirname(launcher.socketPath), 0o755);
  chmodSync(launcher.socketPath, 0o777);
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-process-"));
  chmodSync(directory, 0o777);
  const child = spawn(process.execPath, ["gateway/server/main.ts", "--user", "daemon"], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH ?? "",
      KERNELYARD_DATA_DIR: directory,
      KERNELYARD_LAUNCHER_SOCKET: launcher.socketPath,
      KERNELYARD_FLEET_ADDRESS: `127.0.0.1:${await freePort()}`,
      ...env,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(async () => {
    const ended = child.exitCode === null ? once(child, "exit") : null;
    child.kill("SIGKILL");
    await ended;
    await launcher.dispose();
    rmSync(directory, { recursive: true });
  });
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout ?? process.stdin }).on("line", (line) => {
      const said = JSON.parse(line);
      if (said.msg === "ready") resolve(said.port);
    });
    child.once("exit", (code) => reject(new Error(`the gateway ended with ${code}`)));
  });
  return {
    child,
    launcher,
    async run(code) {
      const headers = { "x-api-key": KEY, "content-type": "application/json" };
      const call = request({ host: "127.0.0.1", port, path: "/run", method: "POST", headers });
      call.end(JSON.stringify({ session_id: "s", code }));
      const [response] = await once(call, "response");
      return JSON.parse(await text(response));
    },
  };
}

it("a gateway that stands still for longer than its lease costs a wait, and wakes without the session", {
  timeout: 90_000,
}, async () => {
  const engine = await RedisServer.start();
  onTestFinished(() => engine.dispose());
  const env = {
    KERNELYARD_PORT: "0",
    KERNELYARD_METRICS_PORT: "0",
    KERNELYARD_POOL_SIZE: "0",
    KERNELYARD_AUTH: "api-key",
    KERNELYARD_API_KEYS: KEY,
    KERNELYARD_AUDIT_DAYS: "0",
    KERNELYARD_FLEET_URL: `redis://127.0.0.1:${engine.port}`,
    KERNELYARD_FLEET_NAME: await newFleet(engine),
    KERNELYARD_FLEET_KEY: "the same for all hosts of the fleet",
    KERNELYARD_FILE_STORE: "s3",
    KERNELYARD_S3_BUCKET: "files",
    KERNELYARD_S3_ENDPOINT: await emptyBucket(),
    AWS_ACCESS_KEY_ID: "tests",
    AWS_SECRET_ACCESS_KEY: "not-a-secret",
  };
  const [a, b] = await Promise.all([startGatewayProcess(env), startGatewayProcess(env)]);
  expect(await a.run("one")).toMatchObject({ stdout: "one", stderr: "" });
  a.child.kill("SIGSTOP");
  const began = performance.now();
  const answer = await b.run("two");
  const waited = performance.now() - began;
  a.child.kill("SIGCONT");
  expect(answer.stdout).toBe("two");
  expect(answer.stderr).toContain("the host that had it was lost: variables and files are lost");
  // No sooner than its host has stopped by itself; a beat may have been sent just before.
  expect(waited).toBeGreaterThan(6_000);
  process.stdout.write(`waited for a host that stood still: ${Math.round(waited)} ms\n`);
  await expect.poll(() => a.launcher.live.length, { timeout: 30_000 }).toBe(0);
  expect(await a.run("three")).toEqual({ stdout: "three", stderr: "", exit_code: 0 });
  expect([a, b].map(({ launcher }) => launcher.created)).toEqual([1, 1]);
});
