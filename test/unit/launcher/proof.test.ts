/** When isolation is proven again, with an engine of the test's own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, duplexPair } from "node:stream";
import pino from "pino";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import type { ProfileImage } from "../../../gateway/common/profiles.ts";
import { SHIPPED_SECCOMP_PROFILE, SHIPPED_SECCOMP_SHA256 } from "../../../gateway/host/isolation.ts";
import { Checkpoints } from "../../../gateway/launcher/checkpoints/checkpoints.ts";
import { CheckpointStore } from "../../../gateway/launcher/checkpoints/store.ts";
import { type Engine, EngineAwayError, EngineRefusedError } from "../../../gateway/launcher/engine/engine.ts";
import { IsolationProof } from "../../../gateway/launcher/isolation/proof.ts";
import { contextOf } from "./context.ts";
import { attachFrame, strictEngine } from "./engine-side.ts";

const IMAGE = `sha256:${"1".repeat(64)}`;
const CONFINED =
  "Linux version 6.1\nSeccomp:\t2\nNoNewPrivs:\t1\nCapEff:\t0000000000000000\nkernelyard-probe-end\n";

const directory = mkdtempSync(join(tmpdir(), "proof-"));
const store = await CheckpointStore.open(directory);
afterAll(() => rmSync(directory, { recursive: true }));

/** `answers`: to each attempt to make the probe's container; after the last it runs. */
function proofWith(
  answers: (() => Promise<string>)[],
  {
    images,
    profiles = null,
  }: { images?: Readonly<Record<string, string>>; profiles?: ProfileImage[] | null } = {},
) {
  const probed: unknown[] = [];
  let program: Duplex | null = null;
  const attempts = { count: 0 };
  const stubs: Partial<Engine> = {
    version: async () => ({ version: "20.10", runtimes: {} }),
    imageId: async (name) => (images === undefined ? IMAGE : (images[name] ?? null)),
    createContainer: (_name, body) => {
      probed.push(body.Image);
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
  const unsafe = {
    ...context,
    settings: { ...context.settings, isolation: "runc-unsafe" as const, profiles },
    seccomp: { json: SHIPPED_SECCOMP_PROFILE, sha256: SHIPPED_SECCOMP_SHA256 },
    log: pino({ level: "silent" }),
  };
  const reserved = new Set<string>();
  const proof = new IsolationProof(unsafe, new Checkpoints(unsafe, store, reserved), reserved);
  onTestFinished(() => proof.stop());
  return { proof, attempts, probed };
}

const hangs = () => Promise.reject(new EngineAwayError("it hangs"));
const refuses = () => Promise.reject(new EngineRefusedError(500, "no such runtime"));

describe("several profiles", () => {
  const images: Readonly<Record<string, string>> = { image: IMAGE, two: `sha256:${"2".repeat(64)}` };

  test("are each proven with their own image before a sandbox of any is made", async () => {
    const { attempts, probed, proof } = proofWith([], {
      images,
      profiles: [
        { name: "analyst", image: "two" },
        { name: "same", image: "two" },
      ],
    });
    await proof.prove();
    expect(probed).toEqual([IMAGE, images.two]);
    expect(attempts.count).toBe(2);
    expect(proof.provenImage("default")).toBe(IMAGE);
    expect(proof.provenImage("analyst")).toBe(images.two);
    expect(() => proof.provenImage("documents")).toThrow("no image profile is named documents");
  });

  test("are refused together when the image of one is missing, which is named", async () => {
    const { proof } = proofWith([], { images, profiles: [{ name: "documents", image: "three" }] });
    await expect(proof.prove()).rejects.toThrow("no image three (profile documents)");
    expect(() => proof.provenImage("default")).toThrow("no image three");
  });
});

describe("isolation that could not be proven", () => {
  test("because the engine was slow for a moment is proven for the next sandbox", async () => {
    const { proof } = proofWith([hangs]);
    await proof.prove();
    expect(() => proof.provenImage("default")).toThrow("not been proven yet");
    await proof.decided();
    expect(proof.provenImage("default")).toBe(IMAGE);
  });

  test("because it was refused is tried again by itself", async () => {
    const { attempts, proof } = proofWith([refuses]);
    await expect(proof.prove()).rejects.toThrow("refused");
    expect(() => proof.provenImage("default")).toThrow("refused");
    while (attempts.count < 2) await new Promise<void>((resolve) => setImmediate(resolve));
    await proof.decided();
    expect(proof.provenImage("default")).toBe(IMAGE);
  });

  test("is asked for by one probe at a time, however many sandboxes are wanted", async () => {
    const slow = Promise.withResolvers<string>();
    const { attempts, proof } = proofWith([() => slow.promise]);
    const wanted = Array.from({ length: 20 }, () => proof.decided());
    slow.resolve("c1");
    await Promise.all(wanted);
    expect(attempts.count).toBe(1);
    expect(proof.provenImage("default")).toBe(IMAGE);
  });

  test("is proven again when the engine comes back as another one", async () => {
    const { attempts, proof } = proofWith([]);
    await proof.prove();
    proof.forget();
    expect(() => proof.provenImage("default")).toThrow("not been proven yet");
    await proof.decided();
    expect([attempts.count, proof.provenImage("default")]).toEqual([2, IMAGE]);
  });
});
