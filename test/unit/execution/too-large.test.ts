import { beforeEach, expect, it } from "vitest";
import type { CallRequest } from "../../../gateway/server/execution/call.ts";
import { notRunError } from "../../../gateway/server/http/not-run.ts";
import { startBehindStandIn, type startGateway } from "../http/gateway-under-test.ts";
import type { LauncherStandIn } from "../sessions/launcher-stand-in.ts";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;

beforeEach(async () => {
  const started = await startBehindStandIn();
  ({ launcher, gateway } = started);
  return started.end;
});

const never = () => {
  throw new Error("nothing is read or stored for a call that cannot be asked for");
};

const call = (more: Partial<CallRequest> = {}): CallRequest => ({
  language: "py",
  code: "next",
  args: [],
  timeoutMs: 1000,
  binding: { kind: "session", key: { kind: "named", tenant: "default", name: "s" }, caller: null },
  inputs: [],
  outputs: null,
  signal: new AbortController().signal,
  ...more,
});

it("is the caller's mistake, named, and the session's sandbox goes on", async () => {
  const inputs = Array.from({ length: 2000 }, (_, i) => ({
    path: `${"long".repeat(10)}-${i}.csv`,
    size: 1,
    readOnly: false,
    open: never,
  }));
  const outcome = await gateway.executor.execute(call({ inputs, outputs: { accept: never } }));
  if (outcome.kind === "finished") throw new Error("it ran");
  const error = notRunError(outcome);
  expect(error.status).toBe(400);
  expect(error.body()).toEqual({
    error: "bad_request",
    message: expect.stringMatching(/^The names of `files` are too long together: \d+ bytes/),
  });
  const next = await gateway.executor.execute(call());
  expect(next).toMatchObject({ kind: "finished", stdout: "next", kernel: { status: "reused" } });
  expect(launcher.created).toBe(1);
});
