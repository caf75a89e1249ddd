/** A call that may not run any more when its turn has come; the launcher is a stand-in. */
import { expect, it, onTestFinished } from "vitest";
import type { CallRequest } from "../../../gateway/server/execution/call.ts";
import { startBehindStandIn } from "../http/gateway-under-test.ts";

const CALL: Omit<CallRequest, "mayRun"> = {
  language: "py",
  code: "1",
  args: [],
  timeoutMs: 1_000,
  inputs: [],
  outputs: null,
  binding: { kind: "session", key: { kind: "named", tenant: "default", name: "s" }, caller: null },
  signal: new AbortController().signal,
};

it("is seen by no kernel, and the session serves the next one", async () => {
  const { end, gateway, launcher } = await startBehindStandIn();
  onTestFinished(end);
  const executed = () =>
    launcher.live
      .flatMap(({ received }) => received)
      .filter(({ msg_type }) => msg_type === "execute_request");
  expect(await gateway.executor.execute({ ...CALL, mayRun: () => false })).toEqual({ kind: "fenced" });
  expect(executed()).toHaveLength(0);
  const asked: number[] = [];
  const mayRun = () => {
    // Only when all that comes before the code is there.
    asked.push(launcher.live.length);
    return true;
  };
  expect(await gateway.executor.execute({ ...CALL, mayRun })).toMatchObject({
    kind: "finished",
    stdout: "1",
  });
  expect(asked).toEqual([1]);
  expect(executed()).toHaveLength(1);
});
