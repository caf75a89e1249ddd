/** What a gateway tells its audit log; the launcher is a stand-in. */
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { AuditEntry } from "../../../gateway/server/audit/entry.ts";
import type { AuditSink } from "../../../gateway/server/audit/log.ts";
import { LauncherStandIn } from "../sessions/launcher-stand-in.ts";
import { NO_FILES, OTHER_KEY, startGateway } from "./gateway-under-test.ts";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;
let entries: AuditEntry[];

beforeEach(async () => {
  launcher = new LauncherStandIn();
  await launcher.start();
  entries = [];
  const sink: AuditSink = {
    lost: 0,
    copied: null,
    write: (entry) => void entries.push(AuditEntry.parse(entry)),
    recent: async (most) => entries.toReversed().slice(0, most),
    erase: () => Promise.reject(new Error("this test erases nobody")),
  };
  gateway = startGateway(launcher.socketPath, {}, NO_FILES, sink);
  await gateway.kernels.start();
  return async () => {
    gateway.stop();
    await launcher.dispose();
  };
});

const CODE = "secret = 's3cret content'";

describe("the audit log", () => {
  it("has a call with its code's digest, and nothing of what was in it", async () => {
    await gateway.post("/v1/run", { session_id: "analysis", code: CODE }, { "x-request-id": "req-1" });
    expect(entries).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        host: expect.any(String),
        request: "req-1",
        tenant: "default",
        subject: "-",
        auth: "api-key",
        action: "execute",
        status: 200,
        error: null,
        duration_ms: expect.any(Number),
        session: "analysis",
        language: "py",
        code_bytes: CODE.length,
        code_sha256: createHash("sha256").update(CODE).digest("hex"),
        outcome: "finished",
        reason: null,
        image: `sha256:${"1".repeat(64)}`,
        inputs: null,
        outputs: null,
      },
    ]);
    expect(JSON.stringify(entries)).not.toContain("s3cret");
  });

  it("has LibreChat's call with its session and files", async () => {
    const reply = await gateway.post(
      "/exec",
      { lang: "py", code: CODE, runtime_session_hint: "h" },
      { "x-api-key": OTHER_KEY },
    );
    const { runtime_session_id } = z
      .looseObject({ runtime_session_id: z.string() })
      .parse(await reply.json());
    expect(entries).toMatchObject([
      {
        action: "execute",
        tenant: "acme",
        session: runtime_session_id,
        inputs: { count: 0, ids: [] },
        outputs: { count: 0, ids: [] },
      },
    ]);
  });

  it("has what was refused, with the reason", async () => {
    launcher.refusal = { status: 503, body: { error: "engine_unavailable", message: "away" } };
    await gateway.post("/run", { session_id: "s", code: "1" });
    expect(entries).toMatchObject([{ status: 503, error: "engine_unavailable", outcome: "unavailable" }]);
  });

  it("has what owners do to their sessions", async () => {
    await gateway.post("/run", { session_id: "s", code: "1" });
    for (const [method, path] of [
      ["POST", "/s/interrupt"],
      ["POST", "/s/restart"],
      ["DELETE", "/s"],
    ] as const) {
      const headers = { "x-api-key": "test-key-0123456789" };
      await gateway.app.request(`/runtime-sessions${path}`, { method, headers });
    }
    expect(entries.map(({ action, session, status }) => [action, session, status])).toEqual([
      ["execute", "s", 200],
      ["interrupt", "s", 200],
      ["restart", "s", 200],
      ["forget", "s", 204],
    ]);
  });

  it("has neither listings, probes, nor callers whom nobody knows", async () => {
    await gateway.app.request("/runtime-sessions", { headers: { "x-api-key": "test-key-0123456789" } });
    await gateway.app.request("/openapi.json");
    await gateway.post("/run", { session_id: "s", code: "1" }, { "x-api-key": "wrong" });
    await gateway.app.request("/nowhere");
    expect(entries).toEqual([]);
  });
});
