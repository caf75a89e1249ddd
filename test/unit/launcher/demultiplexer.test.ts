import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DemultiplexError, Demultiplexer } from "../../../gateway/launcher/engine/demultiplexer.ts";
import { attachFrame } from "./engine-side.ts";

/** Cuts `bytes` at the given places. */
function* cut(bytes: Buffer, places: readonly number[]): Generator<Buffer> {
  const sorted = [...new Set(places.map((p) => p % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const place of [...sorted, bytes.length]) {
    if (place > from) yield bytes.subarray(from, place);
    from = Math.max(from, place);
  }
}

function run(chunks: Iterable<Buffer>): { stdout: Buffer; stderr: Buffer } {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const demultiplexer = new Demultiplexer({
    stdout: (slice) => out.push(slice),
    stderr: (slice) => err.push(slice),
  });
  for (const chunk of chunks) demultiplexer.push(chunk);
  return { stdout: Buffer.concat(out), stderr: Buffer.concat(err) };
}

const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 300 })), {
  maxLength: 20,
});

describe("Docker's attach stream", () => {
  test("is taken apart wherever the reads are cut", () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(10_000), { maxLength: 30 }), (given, places) => {
        const bytes = Buffer.concat(given.map(([stream, payload]) => attachFrame(payload, stream)));
        const { stdout, stderr } = run(cut(bytes, places));
        const of = (stream: number) => Buffer.concat(given.filter(([s]) => s === stream).map(([, p]) => p));
        expect(stdout.equals(of(1))).toBe(true);
        expect(stderr.equals(of(2))).toBe(true);
      }),
    );
  });

  test("of arbitrary bytes ends in an error or in slices that were there", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.array(fc.nat(2000)), (bytes, places) => {
        try {
          const { stdout, stderr } = run(cut(Buffer.from(bytes), places));
          expect(stdout.length + stderr.length).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          expect(error).toBeInstanceOf(DemultiplexError);
        }
      }),
    );
  });

  test("with one byte a read", () => {
    const bytes = Buffer.concat([attachFrame(Buffer.from("out")), attachFrame(Buffer.from("err"), 2)]);
    const { stdout, stderr } = run([...bytes].map((byte) => Buffer.from([byte])));
    expect([stdout.toString(), stderr.toString()]).toEqual(["out", "err"]);
  });

  test("hands on what was read, not a copy", () => {
    const whole = attachFrame(Buffer.from("payload"));
    let slice: Buffer | null = null;
    const demultiplexer = new Demultiplexer({
      stdout: (s) => {
        slice = s;
      },
      stderr: () => {},
    });
    demultiplexer.push(whole);
    whole[8] = 0x50;
    expect(String(slice)).toBe("Payload");
  });

  test.each([
    ["an unknown stream", Buffer.from([3, 0, 0, 0, 0, 0, 0, 1])],
    ["a payload that cannot be", Buffer.from([1, 0, 0, 0, 0x7f, 0, 0, 0])],
  ])("with %s is refused", (_what, header) => {
    expect(() => run([header])).toThrow(DemultiplexError);
  });
});
