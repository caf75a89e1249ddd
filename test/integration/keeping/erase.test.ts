/** A user is erased: nothing of theirs is left anywhere, all of the others' is. */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { newJwtPair } from "../../../gateway/common/keys/jwt-pair.ts";
import { S3AuditObjects } from "../../../gateway/server/audit/copy/s3.ts";
import { line } from "../../support/audit-entries.ts";
import { ROOT, shellBlock } from "../../support/documents.ts";
import { TokenSigner } from "../../support/librechat/tokens.ts";
import { type Stack, startStack } from "../../support/stack.ts";
import { type S3Server, startS3, TEST_CREDENTIALS } from "../files/s3-server.ts";

const OPERATOR = "operator-key-of-this-test-0123456789";
const PAIR = newJwtPair();
const ALICE = { id: "alice-3f9c", mark: "MARK-OF-ALICE" };
const BOB = { id: "bob-77d1", mark: "MARK-OF-BOB" };
const HINT = "v2:conversation:1";

/** The S3 server is built the first time. */
const BUILT_WITHIN_MS = 600_000;
const LOST_HOST = "audit/lost.AAAAAAAAAAAAAAAAAAAAA/audit-2026-11-20.1.jsonl";

let stack: Stack;
let s3: S3Server;
let bucket: string;
beforeAll(async () => {
  s3 = await startS3();
  bucket = await s3.makeBucket();
  stack = await startStack({
    env: {
      KERNELYARD_AUTH: "api-key,jwt",
      KERNELYARD_JWT_PUBLIC_KEY: PAIR.publicKeyPem,
      KERNELYARD_OPERATOR_KEY: OPERATOR,
      KERNELYARD_SESSION_DISK: "64m",
      ...TEST_CREDENTIALS,
      KERNELYARD_AUDIT_S3_BUCKET: bucket,
      KERNELYARD_S3_ENDPOINT: s3.endpoint,
    },
  });
}, BUILT_WITHIN_MS);
afterAll(async () => {
  await stack?.stop();
  await s3?.stop();
});

/** A log's file of a host that is no more, put as its gateway did. */
async function putOfLostHost(content: string): Promise<void> {
  for (const [name, value] of Object.entries(TEST_CREDENTIALS)) vi.stubEnv(name, value);
  const objects = new S3AuditObjects({ bucket, prefix: "", region: "us-east-1", endpoint: s3.endpoint });
  const bytes = (async function* () {
    yield Buffer.from(content);
  })();
  await objects.put(LOST_HOST, bytes, { signal: AbortSignal.timeout(10_000) });
  objects.close();
}

/** Objects of the bucket that have these bytes. */
const inBucket = async (text: string) =>
  (await s3.keys(bucket)).filter((key) => readFileSync(join(s3.directory, bucket, key)).includes(text));

const bearer = ({ id }: { id: string }) => ({
  authorization: `Bearer ${new TokenSigner(PAIR.privateKeyPem, PAIR.kid).sign({ id })}`,
});

async function exec(user: typeof ALICE, code: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${stack.baseUrl}/v1/exec`, {
    method: "POST",
    headers: { ...bearer(user), "content-type": "application/json" },
    body: JSON.stringify({ lang: "py", code, runtime_session_hint: HINT }),
  });
  const body: unknown = await response.json();
  return { status: response.status, body };
}

async function upload(user: typeof ALICE, more: Record<string, string> = {}): Promise<string> {
  const form = new FormData();
  for (const [name, value] of Object.entries(more)) form.append(name, value);
  form.append("file", new Blob([user.mark]), `${user.mark}.txt`);
  const response = await fetch(`${stack.baseUrl}/v1/upload`, {
    method: "POST",
    headers: bearer(user),
    body: form,
  });
  const text = await response.text();
  const [, session] = /"(?:storage_)?session_id":"([^"]+)"/.exec(text) ?? [];
  const [, id] = /"(?:fileId|id)":"([^"]+)"/.exec(text) ?? [];
  return `${stack.baseUrl}/v1/download/${session}/${id}`;
}

/** Files below the data directory that have these bytes. */
function found(text: string): string[] {
  const { stdout } = spawnSync("grep", ["-rlaF", "--devices=skip", text, stack.dataDir], {
    encoding: "utf8",
  });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((path) => path.slice(stack.dataDir.length + 1));
}

/** As the document has it. */
function erase() {
  const [line = ""] = shellBlock("docs/keeping.md", "npm run erase").split("\n");
  const words = line.replace("TENANT", "jwt-legacy").replace("USER", ALICE.id);
  const port = new URL(stack.baseUrl).port;
  const env = {
    ...process.env,
    KERNELYARD_DATA_DIR: stack.dataDir,
    KERNELYARD_PORT: port,
    KERNELYARD_OPERATOR_KEY: OPERATOR,
  };
  return new Promise<string>((resolve, reject) => {
    try {
      resolve(execFileSync("sh", ["-c", words], { cwd: ROOT, encoding: "utf8", env }));
    } catch (error) {
      reject(error);
    }
  });
}

it("erases what runs and what is stored of one user, tells what stays, and leaves the others alone", async () => {
  const files = new Map<typeof ALICE, string>();
  for (const user of [ALICE, BOB]) {
    const code = `open('kept.txt', 'w').write('${user.mark}' * 100); x = '${user.mark}'; print('ok')`;
    expect((await exec(user, code)).body).toMatchObject({ stdout: "ok\n" });
    expect((await exec({ ...user }, "open('out.txt', 'w').write(x)")).status).toBe(200);
    files.set(user, await upload(user));
  }
  execFileSync("sync");
  await expect.poll(() => found(ALICE.id).some((path) => path.startsWith("gateway/audit/"))).toBe(true);
  expect(found(ALICE.mark).length).toBeGreaterThan(1);
  const tenant = { tenant: "jwt-legacy" };
  await putOfLostHost(line(BOB.id, tenant) + line(ALICE.id, tenant));

  const running = exec(ALICE, "import time; time.sleep(100)");
  await expect
    .poll(async () => {
      const sessions = await fetch(`${stack.baseUrl}/v1/runtime-sessions`, { headers: bearer(ALICE) });
      return await sessions.text();
    })
    .toContain('"busy"');
  // Beside this process, which answers nobody meanwhile.
  const said = await erase();
  expect(await running).toMatchObject({ status: 409, body: { error: "being_erased" } });
  expect(said).toMatch(/Ended: 1 calls\.\nRemoved: 1 sessions, 3 files/);
  expect(said).toMatch(/Kept: \d+ audit entries: without subject/);
  expect(said).toContain("Kept: 1 audit entries in the bucket alone: likewise");
  expect(said).not.toMatch(/not rewritten yet|not looked through|earlier versions/);
  expect(await inBucket(ALICE.id)).toEqual([]);
  const kept = await inBucket(BOB.id);
  expect(kept).toContain(LOST_HOST);
  expect(kept.filter((key) => key !== LOST_HOST)).toEqual([
    expect.stringMatching(/^audit\/[^/]+\/audit-[^/]+$/),
  ]);

  expect(found(ALICE.mark)).toEqual([]);
  expect(found(ALICE.id)).toEqual([]);
  expect(found(BOB.mark).length).toBeGreaterThan(1);
  expect(found(BOB.id)).not.toEqual([]);
  const download = async (user: typeof ALICE) => {
    const response = await fetch(files.get(user) ?? "", { headers: bearer(user) });
    return response.status === 200 ? response.text() : response.status;
  };
  expect(await download(ALICE)).toBe(404);
  expect(await download(BOB)).toBe(BOB.mark);
  expect((await exec(BOB, "print(x, len(open('kept.txt').read()))")).body).toMatchObject({
    stdout: `${BOB.mark} ${BOB.mark.length * 100}\n`,
  });
  // As somebody new.
  expect((await exec(ALICE, "import os; print(os.listdir('.'), 'x' in globals())")).body).toMatchObject({
    stdout: "[] False\n",
  });
  expect(await erase()).toMatch(/Removed: 1 sessions, 0 files/);
  expect(await erase()).toMatch(/Removed: 0 sessions, 0 files/);
  const audit = join(stack.dataDir, "gateway/audit");
  await expect
    .poll(
      () =>
        execFileSync("sh", ["-c", `cat ${audit}/*.jsonl`], { encoding: "utf8" }).split('"action":"erase"')
          .length,
    )
    .toBe(4);
});

it("is for operators alone", async () => {
  const ask = (headers: Record<string, string>) =>
    fetch(`${stack.baseUrl}/v1/operator/erase`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ tenant: "default" }),
    }).then(({ status }) => status);
  expect(await ask({})).toBe(401);
  expect(await ask({ "x-api-key": stack.apiKey })).toBe(401);
  expect(await ask({ "x-operator-key": `${OPERATOR}x` })).toBe(401);
  expect(await ask(bearer(BOB))).toBe(401);
  expect(await ask({ "x-operator-key": OPERATOR })).toBe(200);
});
