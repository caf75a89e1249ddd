import { type Duplex, duplexPair } from "node:stream";
import { beforeEach, expect, test } from "vitest";
import { SHIPPED_SECCOMP_PROFILE } from "../../../gateway/host/isolation.ts";
import { EngineRefusedError } from "../../../gateway/launcher/engine/engine.ts";
import { type Ran, runOnce } from "../../../gateway/launcher/isolation/run-once.ts";
import { attachFrame, strictEngine } from "./engine-side.ts";

const MIB = 1024 * 1024;
const ID = "abcdefghijklmnopqrstu";

let near: Duplex;
let program: Duplex;
/** What the engine was asked, in this order. */
let asked: string[] = [];
beforeEach(() => {
  [near, program] = duplexPair();
  asked = [];
});

function run(start: () => void, withinMs = 60_000): Promise<Ran> {
  const engine = strictEngine({
    createContainer: async (name, body) => {
      asked.push("createContainer");
      expect([name, body.Entrypoint, body.Cmd]).toEqual([`kernelyard_${ID}`, ["say", "it"], []]);
      expect(body.Labels).toMatchObject({ "kernelyard.kind": "probe", "kernelyard.sandbox": ID });
      return "c1";
    },
    attach: async () => {
      asked.push("attach");
      return near;
    },
    startContainer: async () => {
      asked.push("startContainer");
      start();
    },
    removeContainer: async (id) => {
      expect(id).toBe("c1");
      asked.push("removeContainer");
    },
  });
  return runOnce({
    engine,
    sandbox: {
      id: ID,
      instance: "instance",
      profile: "probe",
      imageId: `sha256:${"1".repeat(64)}`,
      seccomp: SHIPPED_SECCOMP_PROFILE,
      ceilings: {
        isolation: "runsc",
        memoryBytes: 64 * MIB,
        cpus: 1,
        pids: 64,
        freshDiskBytes: MIB,
        wheels: null,
      },
      data: { kind: "fresh" },
      checkpoints: null,
    },
    command: ["say", "it"],
    answered: (stdout) => stdout.includes("✓"),
    withinMs,
  });
}

const outcomes: [string, () => void, Ran][] = [
  [
    "answers, in pieces, with something beside it on standard error",
    () => {
      const tick = attachFrame(Buffer.from("it is ✓"));
      program.write(attachFrame(Buffer.from("no ✓"), 2));
      program.write(tick.subarray(0, -2));
      program.write(tick.subarray(-2));
    },
    { state: "answered", stdout: "it is ✓" },
  ],
  [
    "ends before it answered",
    () => program.end(attachFrame(Buffer.from("it"))),
    { state: "ended", stdout: "it" },
  ],
  [
    "is followed by what is no attach stream",
    () => program.write(Buffer.concat([attachFrame(Buffer.from("it")), Buffer.alloc(8, 0xff)])),
    { state: "ended", stdout: "it" },
  ],
];

test.each(outcomes)("a program that %s is told so, and is gone", async (_what, start, ran) => {
  expect(await run(start)).toEqual(ran);
  expect(asked).toEqual(["createContainer", "attach", "startContainer", "removeContainer"]);
  expect(near.destroyed).toBe(true);
});

test("a program that says nothing in its time is silent, and is gone", async () => {
  expect(await run(() => {}, 20)).toEqual({ state: "silent", stdout: "" });
  expect(asked).toContain("removeContainer");
});

test("a program that does not start is told with the engine's reason, and is gone", async () => {
  const error = new EngineRefusedError(500, "no such runtime");
  const ran = await run(() => {
    throw error;
  });
  expect(ran).toEqual({ state: "not-started", error });
  expect(asked).toContain("removeContainer");
});

test("of a program that talks without end little is kept", async () => {
  const ran = await run(() => {
    for (let sent = 0; sent < 4 * MIB; sent += 64 * 1024)
      program.write(attachFrame(Buffer.alloc(64 * 1024, "x")));
    program.end();
  });
  expect(ran).toMatchObject({ state: "ended" });
  expect("stdout" in ran && ran.stdout.length).toBeLessThan(MIB);
});
