import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  LauncherClient,
  LauncherRefusal,
  LauncherUnavailable,
} from "../../../gateway/common/protocol/launcher-client.ts";
import { LauncherStandIn } from "./launcher-stand-in.ts";

let launcher: LauncherStandIn;
let client: LauncherClient;

beforeEach(async () => {
  launcher = new LauncherStandIn();
  await launcher.start();
  client = new LauncherClient(launcher.socketPath);
});

afterEach(async () => {
  client.close();
  await launcher.dispose();
});

const SESSION = {
  kind: "session",
  profile: "default",
  session: { kind: "named", tenant: "default", name: "s" },
} as const;

describe("LauncherClient", () => {
  it("creates, lists, inspects and removes", async () => {
    const sandbox = await client.create(SESSION);
    expect(await client.list()).toMatchObject([{ id: sandbox.id, session: SESSION.session }]);
    expect(await client.inspect(sandbox.id)).toMatchObject({ ended: null });
    await client.remove(sandbox.id);
    expect(await client.inspect(sandbox.id)).toMatchObject({ ended: { reason: "killed" } });
    expect(await client.inspect("a".repeat(21))).toBeNull();
    await client.remove("a".repeat(21));
  });

  it("tells refusals by their code, with the sandbox that is there", async () => {
    const { id } = await client.create(SESSION);
    const refusal = await client.create(SESSION).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(LauncherRefusal);
    expect(refusal).toMatchObject({ code: "session_exists", sandboxId: id });
    const missing = await client.attach("a".repeat(21)).catch((error: unknown) => error);
    expect(missing).toMatchObject({ code: "not_found" });
  });

  it("says that nobody answers, without telling paths, and connects again by itself", async () => {
    await client.health();
    await launcher.stop();
    const away = await client.health().catch((error: unknown) => error);
    expect(away).toBeInstanceOf(LauncherUnavailable);
    expect(String(away)).not.toContain(launcher.socketPath);
    await expect(client.attach("a".repeat(21))).rejects.toBeInstanceOf(LauncherUnavailable);
    await launcher.start();
    expect((await client.health()).capacity).toBe(8);
  });

  it("asks again over a new connection when all kept ones were closed at once", async () => {
    const together = () => Promise.all(Array.from({ length: 4 }, () => client.health()));
    await together();
    // In one turn of the loop: the client has not seen yet that its connections are gone.
    launcher.closeIdleConnections();
    expect((await together()).map((health) => health.capacity)).toEqual([8, 8, 8, 8]);
    launcher.closeIdleConnections();
    expect((await client.health()).capacity).toBe(8);
  });

  it("takes an answer outside the API for no launcher", async () => {
    launcher.refusal = { status: 418, body: JSON.parse('{"error":"teapot","message":"x"}') };
    await expect(client.create(SESSION)).rejects.toBeInstanceOf(LauncherUnavailable);
  });
});
