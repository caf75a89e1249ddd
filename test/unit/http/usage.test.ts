/** What callers and the operator are told of usage; the launcher is a stand-in, the file store a real one. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { MemoryBudget } from "../../../gateway/server/bounds/memory.ts";
import { BoundedFileStore } from "../../../gateway/server/files/bounded.ts";
import { DiskFileStore } from "../../../gateway/server/files/disk/store.ts";
import type { FileStore } from "../../../gateway/server/files/store.ts";
import { OwnUsage, TenantUsage } from "../../../gateway/server/http/routes/usage.ts";
import { filesApp, uploadForm } from "../../support/files/app.ts";
import { usageInMemory } from "../../support/usage.ts";
import { LauncherStandIn } from "../sessions/launcher-stand-in.ts";
import { KEY, OTHER_KEY, startGateway } from "./gateway-under-test.ts";
import { listen } from "./listening.ts";

const Uploaded = z.object({
  storage_session_id: z.string(),
  files: z.array(z.object({ fileId: z.string() })).min(1),
});
const OPERATOR_KEY = "operator-key-0123456789-0123456789";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;
let place: string;
let usage: ReturnType<typeof usageInMemory>;
let store: FileStore;

beforeEach(async () => {
  launcher = new LauncherStandIn();
  await launcher.start();
  place = mkdtempSync(join(tmpdir(), "ky-usage-"));
  usage = usageInMemory();
  const disk = await DiskFileStore.open({
    directory: place,
    ttlMs: 1e9,
    sweepEveryMs: 1e9,
    onSweepError: (error) => {
      throw error;
    },
  });
  store = new BoundedFileStore(disk, {
    memory: new MemoryBudget(1e9),
    stageBytes: 1e6,
    perHolderBytes: 1e9,
    totalBytes: null,
    reserve: null,
    onStored: (tenant, bytes) => usage.add(tenant, { stored_bytes: bytes }),
  });
  gateway = startGateway(
    launcher.socketPath,
    { KERNELYARD_OPERATOR_KEY: OPERATOR_KEY, KERNELYARD_RATE_LIMITS: "on", KERNELYARD_FILES_PER_USER: "1m" },
    store,
    null,
    null,
    null,
    usage,
  );
  launcher.script = (message, _body, sandbox) => {
    if (message.msg_type === "execute_request") sandbox.reply(message.msg_id, { wall_time_ms: 1500 });
  };
  return async () => {
    gateway.stop();
    await store.close();
    rmSync(place, { recursive: true });
    await launcher.dispose();
  };
});

const own = async (key: string) =>
  OwnUsage.parse(await (await gateway.app.request("/v1/usage", { headers: { "x-api-key": key } })).json());
const ofAll = () =>
  gateway.app.request("/v1/operator/usage", { headers: { "x-operator-key": OPERATOR_KEY } });

describe("usage", () => {
  it("has calls, seconds and bytes of each tenant, for the tenant's key and for the operator", async () => {
    await gateway.post("/v1/run", { session_id: "a", code: "secret()" });
    await gateway.post("/exec", { lang: "py", code: "secret()" }, { "x-api-key": OTHER_KEY });
    // What never ran is no call.
    expect((await gateway.post("/v1/run", { session_id: "a" })).status).toBe(400);
    const form = uploadForm({ kind: "user" }, ["a.txt", "twelve bytes"]);
    const headers = { ...form.headers, "x-api-key": OTHER_KEY };
    const uploaded = Uploaded.parse(
      await (await gateway.app.request("/v1/upload", { ...form, headers })).json(),
    );
    const download = `/v1/download/${uploaded.storage_session_id}/${uploaded.files[0]?.fileId}?kind=user`;
    for (const part of [{}, { range: "bytes=0-3" }]) {
      const answer = await gateway.app.request(download, { headers: { "x-api-key": OTHER_KEY, ...part } });
      await answer.text();
    }
    await gateway.app.request(download, { method: "HEAD", headers: { "x-api-key": OTHER_KEY } });
    const month = new Date().toISOString().slice(0, 7);
    const ofDefault = { month, calls: 1, seconds: 1.5, stored_bytes: 0, sent_bytes: 0 };
    const ofAcme = { month, calls: 1, seconds: 1.5, stored_bytes: 12, sent_bytes: 16 };
    expect(await own(KEY)).toMatchObject({
      tenant: "default",
      months: [ofDefault],
      stored: { files: 0, bytes: 0 },
      limits: { stored_bytes: 10 * 1024 * 1024 },
    });
    expect(await own(OTHER_KEY)).toMatchObject({
      tenant: "acme",
      months: [ofAcme],
      stored: { files: 1, bytes: 12 },
    });
    const all = TenantUsage.parse(await (await ofAll()).json());
    expect(all.tenants).toEqual([
      { tenant: "acme", months: [ofAcme] },
      { tenant: "default", months: [ofDefault] },
    ]);
    expect(all.limits.user.stored_bytes).toBe(1024 * 1024);
    expect(all.limits.user.requests).toContainEqual({ kind: "exec", points: 300, seconds: 30 });
    expect(all.limits.key.requests).toContainEqual({ kind: "exec", points: 3000, seconds: 30 });
    expect(JSON.stringify(all)).not.toContain("secret");
  });

  it("tells a token's user what they have stored, and nothing of the others of their tenant", async () => {
    const app = filesApp(store);
    await app.as("alice@acme")("/upload", uploadForm({ kind: "user" }, ["a.txt", "12345"]));
    const told = OwnUsage.parse(await (await app.as("alice@acme")("/usage")).json());
    expect(told).toMatchObject({ tenant: "acme", months: null, stored: { files: 1, bytes: 5 } });
    expect(OwnUsage.parse(await (await app.as("bob@acme")("/usage")).json()).stored.files).toBe(0);
  });

  it("is printed by the command, a line for a tenant's month", async () => {
    await gateway.post("/exec", { lang: "py", code: "1" }, { "x-api-key": OTHER_KEY });
    const there = await listen(gateway);
    const command = [join(import.meta.dirname, "../../../gateway/cli/usage/main.ts"), "--url", there.url];
    const run = (key: string) =>
      promisify(execFile)(process.execPath, command, { env: { KERNELYARD_OPERATOR_KEY: key } });
    const month = new Date().toISOString().slice(0, 7);
    expect((await run(OPERATOR_KEY)).stdout).toBe(
      `tenant\tmonth\tcalls\tseconds\tstored_bytes\tsent_bytes\n"acme"\t${month}\t1\t1.5\t0\t0\n`,
    );
    await expect(run("x".repeat(32))).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Refused (401)"),
    });
    await there.close();
  });

  it("is for who proves who they are, and all of it for the operator alone", async () => {
    expect((await gateway.app.request("/v1/usage")).status).toBe(401);
    const tenants = await gateway.app.request("/v1/operator/usage", { headers: { "x-api-key": KEY } });
    expect(tenants.status).toBe(401);
    expect((await ofAll()).status).toBe(200);
  });
});
