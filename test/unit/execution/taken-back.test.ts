import { text } from "node:stream/consumers";
import { beforeEach, expect, it } from "vitest";
import { startBehindStandIn, type startGateway } from "../http/gateway-under-test.ts";
import type { LauncherStandIn } from "../sessions/launcher-stand-in.ts";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;

beforeEach(async () => {
  const started = await startBehindStandIn();
  ({ launcher, gateway } = started);
  return started.end;
});

it("a caller who hangs up while files are collected: the outcome says that the sandbox took them back", async () => {
  const hangUp = new AbortController();
  launcher.script = (message, _body, box) => {
    if (message.msg_type === "execute_request") {
      const content = { path: "made.txt", size: 1, change: "created" } as const;
      box.send({ msg_type: "file_output", msg_id: "f1", parent_id: message.msg_id, content });
      box.send({ msg_type: "chunk", parent_id: "f1", content: { last: true } }, Buffer.from("x"));
    }
    if (message.msg_type !== "interrupt_request") return;
    box.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
    box.reply(message.parent_id, { taken_back: true });
  };
  const taken: string[] = [];
  const outcome = await gateway.executor.execute({
    language: "py",
    code: "",
    args: [],
    timeoutMs: 60_000,
    binding: { kind: "session", key: { kind: "named", tenant: "default", name: "s" }, caller: null },
    inputs: [],
    outputs: {
      accept: async ({ path }, body) => {
        taken.push(`${path}: ${await text(body)}`);
        hangUp.abort();
      },
    },
    signal: hangUp.signal,
  });
  expect(taken).toEqual(["made.txt: x"]);
  expect(outcome).toMatchObject({ kind: "finished", takenBack: true });
});
