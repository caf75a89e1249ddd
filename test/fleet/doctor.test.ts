/** What `npm run doctor` says of a fleet: a real engine, gateways that listen for each other; the rest of its report is tried elsewhere. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fleetFindings } from "../../gateway/cli/doctor/fleet.ts";
import { readSettings } from "../../gateway/common/settings/read.ts";
import { RedisServer } from "../support/redis/redis-server.ts";
import { type HostUnderTest, newFleet, startHost } from "./fleet-under-test.ts";

describe("the doctor of a host in a fleet", () => {
  const dataDir = mkdtempSync(join(tmpdir(), "ky-fleet-doctor-"));
  let engine: RedisServer;
  beforeAll(async () => {
    engine = await RedisServer.start(["--maxmemory-policy", "noeviction"]);
  });
  afterAll(async () => {
    await engine?.dispose();
    rmSync(dataDir, { recursive: true, force: true });
  });

  interface Two {
    readonly name: string;
    readonly here: HostUnderTest;
    readonly there: HostUnderTest;
  }
  const two = async (): Promise<Two> => {
    const name = await newFleet(engine);
    const [here, there] = [
      await startHost({ url: engine.url, fleet: name }),
      await startHost({ url: engine.url, fleet: name }),
    ];
    return { name, here, there };
  };
  const said = async (
    { here, name }: Pick<Two, "name" | "here">,
    change: Readonly<Record<string, string>> = {},
  ) => {
    const settings = readSettings({
      KERNELYARD_DATA_DIR: dataDir,
      KERNELYARD_FLEET_URL: engine.url,
      KERNELYARD_FLEET_NAME: name,
      KERNELYARD_FLEET_ADDRESS: here.addr,
      KERNELYARD_FLEET_KEY: "k".repeat(32),
      KERNELYARD_FILE_STORE: "s3",
      KERNELYARD_S3_BUCKET: "files",
      KERNELYARD_S3_REGION: "eu-central-1",
      KERNELYARD_AUTH: "api-key",
      KERNELYARD_API_KEYS: `default=sha256:${"0".repeat(64)}`,
      ...change,
    });
    const findings = await fleetFindings(settings);
    for (const { remedy, state } of findings) expect(remedy === undefined).toBe(state === "ok");
    return Object.fromEntries(findings.map(({ detail, state, title }) => [title, `${state}: ${detail}`]));
  };

  it("says nothing where it is alone", async () => {
    expect(await fleetFindings(readSettings({ KERNELYARD_DATA_DIR: dataDir }))).toEqual([]);
  });

  it("finds the engine, its memory, its clock, and each other host by its certificate", async () => {
    const all = await two();
    const { here, there } = all;
    expect(await said(all)).toEqual({
      "fleet's directory": expect.stringMatching(/^ok: version \d+\S*, noeviction$/),
      "fleet's memory": expect.stringMatching(/^weaker: /),
      "fleet's clock": expect.stringMatching(/^ok: /),
      "host of the fleet": `ok: takes part, as ${here.addr}`,
      [`other host ${there.addr}`]: "ok: reached, with the certificate of its record; up",
    });
  });

  it("says what an engine must not do, and what it keeps", async () => {
    const all = await two();
    const client = engine.client();
    await client.config("SET", "maxmemory-policy", "allkeys-lru");
    await client.config("SET", "appendonly", "yes");
    expect(await said(all)).toMatchObject({
      "fleet's directory": expect.stringMatching(/^missing: it drops keys .*allkeys-lru/),
      "fleet's memory": "ok: on its disk",
    });
    await client.config("SET", "maxmemory-policy", "noeviction");
    client.disconnect();
  });

  it("notices somebody else at a host's address, and a host that nobody reaches", async () => {
    const all = await two();
    const { here, name, there } = all;
    const client = engine.client();
    const hosts = `{ky:${name}}:hosts`;
    const record = await client.hget(hosts, there.id);
    const other = { ...JSON.parse(record ?? "{}"), cert: "0".repeat(64) };
    // Its next beat says it right again.
    await there.die();
    await client.hset(
      hosts,
      there.id,
      JSON.stringify({ ...other, addr: here.addr.replace("127.0.0.1", "localhost") }),
    );
    const [title = ""] = Object.keys(await said(all)).filter((one) => one.startsWith("other host localhost"));
    expect((await said(all))[title]).toMatch(/^missing: .*another certificate/);
    await client.hset(hosts, there.id, record ?? "");
    expect((await said(all))[`other host ${there.addr}`]).toMatch(/^missing: .*ECONNREFUSED/);
    client.disconnect();
  });

  it("says that an engine does not answer", async () => {
    const all = await two();
    const nowhere = { KERNELYARD_FLEET_URL: "redis://127.0.0.1:1" };
    expect(await said(all, nowhere)).toEqual({
      "fleet's directory": expect.stringMatching(/^missing: .*does not answer/),
    });
  });
});
