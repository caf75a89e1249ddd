/** Several hosts on this machine: each a launcher, a gateway and real sandboxes; a real engine and a real S3 server between them. */
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { drainHost, loseHost, startFleetHost } from "../../support/fleet/hosts-here.ts";
import { RedisServer } from "../../support/redis/redis-server.ts";
import type { Stack } from "../../support/stack.ts";
import { type S3Server, startS3, TEST_CREDENTIALS } from "../files/s3-server.ts";

/** The S3 server is built the first time. */
const BUILT_WITHIN_MS = 600_000;

let engine: RedisServer;
let bucket: S3Server;
beforeAll(async () => {
  [engine, bucket] = await Promise.all([RedisServer.start(), startS3()]);
}, BUILT_WITHIN_MS);
afterAll(async () => {
  await engine?.dispose();
  await bucket?.stop();
});

interface Said {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly error?: string;
}

async function run(host: Stack, code: string, session = "s"): Promise<Said> {
  const answer = await host.post("/run", { session_id: session, code });
  return { status: answer.status, ...(JSON.parse(await answer.text()) as Omit<Said, "status">) };
}

const saved = async (fleet: string) =>
  (await bucket.keys(fleet)).filter((key) => key.startsWith("workspaces/"));

async function hosts(count: number, name: string): Promise<Stack[]> {
  const started: Stack[] = [];
  for (let n = 0; n < count; n++) {
    const place = { name, endpoint: bucket.endpoint, credentials: TEST_CREDENTIALS };
    const host = await startFleetHost(engine, place, { KERNELYARD_POOL_SIZE: "0" });
    onTestFinished(() => host.stop());
    started.push(host);
  }
  return started;
}

it("a session is one wherever it is asked for; drained, and with its host killed, its files go along", async () => {
  const fleet = await bucket.makeBucket();
  const [a, b, c] = await hosts(3, fleet);
  if (!a || !b || !c) throw new Error("no hosts");
  const write =
    "open('result.csv', 'w').write('結果,1\\n'); import os; os.makedirs('d/e'); os.symlink('result.csv', 'link'); x = 41";
  expect(await run(a, write)).toMatchObject({ status: 200, stderr: "" });
  expect(await run(b, "x += 1; print(x)")).toMatchObject({ stdout: "42\n", stderr: "" });
  expect((await c.containers()).length + (await b.containers()).length).toBe(0);

  await drainHost(a);
  expect(await a.containers("session")).toHaveLength(0);
  const look = "import os; print(open('link').read(), os.path.isdir('d/e'), 'x' in globals())";
  const moved = await run(a, look);
  expect(moved.stdout).toBe("結果,1\n True False\n");
  expect(moved.stderr).toContain(
    "it moved to another host: variables are lost, files are as they were last saved",
  );

  const [home, other] = (await b.containers("session")).length === 1 ? [b, c] : [c, b];
  const [first] = await saved(fleet);
  expect(await run(other, "open('more.txt', 'w').write('later')")).toMatchObject({ status: 200, stderr: "" });
  // The next one is written, then the one before goes.
  await expect
    .poll(async () => (await saved(fleet)).filter((key) => key !== first).length, {
      timeout: 90_000,
      interval: 500,
    })
    .toBe(1);
  await loseHost(home);
  const restored = await run(other, "print(open('link').read(), open('more.txt').read())");
  expect(restored.stdout).toBe("結果,1\n later\n");
  expect(restored.stderr).toContain(
    "its host was lost: variables are lost, files are as they were last saved",
  );
  expect(await run(a, "print(open('more.txt').read())")).toMatchObject({ stdout: "later\n", stderr: "" });
});
