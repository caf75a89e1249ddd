/** When isolation is proven again, with an engine of the test's own. */
import { type Duplex, duplexPair } from "node:stream";
import pino from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { SHIPPED_SECCOMP_PROFILE, SHIPPED_SECCOMP_SHA256 } from "../../../gateway/host/isolation.ts";
import { type Engine, EngineAwayError, EngineRefusedError } from "../../../gateway/launcher/engine/engine.ts";
import { IsolationProof } from "../../../gateway/launcher/isolation/proof.ts";
import { contextOf } from "./context.ts";
import { attachFrame, strictEngine } from "./engine-side.ts";

const IMAGE = `sha256:${"1".repeat(64)}`;
const CONFINED =
  "Linux version 6.1\nSeccomp:\t2\nNoNewPrivs:\t1\nCapEff:\t0000000000000000\nkernelyard-probe-end\n";

/** `answers`: to each attempt to make the probe's container; after the last it runs. */
function proofWith(answers: (() => Promise<string>)[]) {
  let program: Duplex | null = null;
  const attempts = { count: 0 };
  const stubs: Partial<Engine> = {
    version: async () => ({ version: "20.10", runtimes: {} }),
    imageId: async () => IMAGE,
    createContainer: () => {
      attempts.count += 1;
      return answers.shift()?.() ?? Promise.resolve("c1");
    },
    attach: async () => {
      const [near, far] = duplexPair();
      program = far;
      return near;
    },
    startContainer: async () => void program?.write(attachFrame(Buffer.from(CONFINED))),
    removeContainer: async () => {},
  };
  const context = contextOf(strictEngine(stubs));
  const proof = new IsolationProof({
    ...context,
    settings: { ...context.settings, isolation: "runc-unsafe" },
    seccomp: { json: SHIPPED_SECCOMP_PROFILE, sha256: SHIPPED_SECCOMP_SHA256 },
    log: pino({ level: "silent" }),
  });
  onTestFinished(() => proof.stop());
  return { proof, attempts };
}

const hangs = () => Promise.reject(new EngineAwayError("it hangs"));
const refuses = () => Promise.reject(new EngineRefusedError(500, "no such runtime"));

describe("isolation that could not be proven", () => {
  test("because the engine was slow for a moment is proven for the next sandbox", async () => {
    const { proof } = proofWith([hangs]);
    await proof.prove();
    expect(() => proof.provenImage()).toThrow("not been proven yet");
    await proof.decided();
    expect(proof.provenImage()).toBe(IMAGE);
  });

  test("because it was refused is tried again by itself", async () => {
    const { attempts, proof } = proofWith([refuses]);
    await expect(proof.prove()).rejects.toThrow("refused");
    expect(() => proof.provenImage()).toThrow("refused");
    while (attempts.count < 2) await new Promise<void>((resolve) => setImmediate(resolve));
    await proof.decided();
    expect(proof.provenImage()).toBe(IMAGE);
  });

  test("is asked for by one probe at a time, however many sandboxes are wanted", async () => {
    const slow = Promise.withResolvers<string>();
    const { attempts, proof } = proofWith([() => slow.promise]);
    const wanted = Array.from({ length: 20 }, () => proof.decided());
    slow.resolve("c1");
    await Promise.all(wanted);
    expect(attempts.count).toBe(1);
    expect(proof.provenImage()).toBe(IMAGE);
  });

  test("is proven again when the engine comes back as another one", async () => {
    const { attempts, proof } = proofWith([]);
    await proof.prove();
    proof.forget();
    expect(() => proof.provenImage()).toThrow("not been proven yet");
    await proof.decided();
    expect([attempts.count, proof.provenImage()]).toEqual([2, IMAGE]);
  });
});
