/** The clock that deletions go by, on clocks of this test. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SteadyClock } from "../../gateway/common/steady-clock.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 2);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "kernelyard-clock-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function host() {
  const time = { ofDay: START, elapsed: 1000 };
  const open = () =>
    new SteadyClock(join(directory, "gateway", "last-seen"), {
      timeOfDay: () => time.ofDay,
      elapsed: () => time.elapsed,
    });
  const pass = (ms: number) => {
    time.ofDay += ms;
    time.elapsed += ms;
  };
  return { time, open, pass };
}

it("follows the time of day while that does not jump", () => {
  const { open, pass, time } = host();
  const clock = open();
  pass(30 * DAY);
  expect(clock.now()).toBe(time.ofDay);
});

it("does not jump forward, and follows back", () => {
  const { open, pass, time } = host();
  const clock = open();
  for (const jump of [HOUR, 60 * DAY]) {
    const before = clock.now();
    time.ofDay += jump;
    expect(clock.now()).toBe(before);
    pass(HOUR);
    expect(clock.now()).toBe(before + HOUR);
    time.ofDay -= jump;
    expect(clock.now()).toBe(before + HOUR);
  }
  time.ofDay -= HOUR;
  expect(clock.now()).toBe(time.ofDay);
});

it("doubts in the next process what it did not follow in this one", () => {
  const { open, pass, time } = host();
  const clock = open();
  time.ofDay += 60 * DAY;
  pass(HOUR);
  const now = clock.now();
  expect(open().now()).toBe(now);
  pass(DAY);
  expect(open().now()).toBe(now);
});

it("doubts a clock that starts long after it was last seen, for a day", () => {
  const { open, pass, time } = host();
  open().now();
  pass(60 * DAY);
  const clock = open();
  expect(clock.now()).toBe(START);
  // A process that starts again meanwhile doubts it as well.
  expect(open().now()).toBe(START);
  pass(DAY);
  expect(clock.now()).toBe(time.ofDay);
  expect(open().now()).toBe(time.ofDay);
});

it("believes a clock after a rest of some days, and notes when it was read", () => {
  const { open, pass, time } = host();
  open().now();
  pass(6 * DAY);
  expect(open().now()).toBe(time.ofDay);
  expect(statSync(join(directory, "gateway", "last-seen")).mtimeMs).toBe(time.ofDay);
});
