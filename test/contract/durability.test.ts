/** The gateway is killed with -9: between an upload's reply and its first use, and during calls that leave files. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, watch } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type Caller,
  download,
  metadata,
  run,
  type StoredFile,
  upload,
  uploadBatch,
} from "./support/files.ts";
import { ALICE, type Service, startService } from "./support/service.ts";

const KILLS = 4;
const MIB = 1 << 20;

let service: Service;
beforeAll(async () => {
  service = await startService({ KERNELYARD_POOL_SIZE: "1" });
});
afterAll(() => service?.stop());

const caller = (): Caller => ({
  baseUrl: service.baseUrl,
  headers: { ...service.authorization() },
  userId: ALICE.id,
});
const USER = { kind: "user", id: ALICE.id } as const;
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function killAndStart(): Promise<void> {
  await service.stack.gateway.signal("SIGKILL");
  await service.stack.startGateway();
}

/** Sandboxes that run or have run code. */
const used = async () =>
  (await service.launcher.list()).filter((sandbox) => sandbox.used && sandbox.ended === null).length;

it("b-4 a file whose upload was acknowledged is there for its first use", { timeout: 180_000 }, async () => {
  const content = randomBytes(3 * MIB);
  const single = await upload(caller(), USER, { name: "dir/a.bin", content });
  const batch = await uploadBatch(
    caller(),
    USER,
    [1, 2, 3].map((i) => ({ name: `b${i}.bin`, content })),
  );
  await killAndStart();
  const files = [single, ...batch];
  for (const file of files) {
    expect(await metadata(caller(), file)).toMatchObject({
      originalFilename: file.name,
      size: content.length,
    });
  }
  const { stdout } = await run(caller(), {
    lang: "bash",
    code: "sha256sum dir/a.bin b?.bin | cut -c1-64",
    files,
  });
  expect(stdout).toBe(`${sha256(content)}\n`.repeat(4));
});

it("b-2 killed during calls with outputs: what was acknowledged is whole, nothing leaks", {
  timeout: 280_000,
}, async () => {
  const acknowledged = new Map<StoredFile, string>();
  const code = [
    "import hashlib, os",
    "for i in range(8):",
    `    b = os.urandom(${MIB})`,
    "    open(f'o{i}.bin', 'wb').write(b)",
    "    print(hashlib.sha256(b).hexdigest())",
  ].join("\n");
  const call = async () => {
    const reply = await run(caller(), { lang: "py", code });
    const digests = reply.stdout.trimEnd().split("\n");
    expect(reply.files).toHaveLength(8);
    for (const { id, name } of reply.files) {
      const digest = digests[Number(/\d+/.exec(name)?.[0])] ?? "";
      acknowledged.set({ id, name, storage_session_id: reply.session_id }, digest);
    }
  };
  const incoming = () => readdirSync(join(service.stack.dataDir, "gateway/files/incoming"));

  await call();
  for (let kill = 0; kill < KILLS; kill++) {
    // Told by the kernel: a look now and then could miss it.
    const arriving = watch(join(service.stack.dataDir, "gateway/files/incoming"));
    const arrived = once(arriving, "change");
    const broken = call().then(
      () => "acknowledged",
      () => "cut off",
    );
    // Once while the code runs, once while its files come out, and so on.
    if (kill % 2 === 0) await expect.poll(used, { interval: 10 }).toBeGreaterThan(0);
    else await arrived;
    arriving.close();
    await killAndStart();
    const end = await broken;
    expect(["acknowledged", "cut off"]).toContain(end);

    for (const [file, digest] of acknowledged) {
      const { status, bytes } = await download(caller(), file);
      expect([status, sha256(bytes)]).toEqual([200, digest]);
    }
    // A new gateway ends what nobody waits for, and forgets what was on its way.
    await expect.poll(used, { interval: 100 }).toBe(0);
    expect(incoming()).toEqual([]);
  }
  await call();
  const unaccounted = async () => {
    const known = new Set((await service.launcher.list()).map((sandbox) => sandbox.container_id));
    return (await service.stack.containers()).filter(({ Id }) => !known.has(Id)).length;
  };
  await expect.poll(unaccounted, { interval: 100 }).toBe(0);
});
