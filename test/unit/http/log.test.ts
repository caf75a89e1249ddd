/** The gateway's log, in a process that ends in every way. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const LOG = join(import.meta.dirname, "../../../gateway/server/log.ts");

function said(program: string) {
  const { signal, status, stdout } = spawnSync(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `import { openLog } from ${JSON.stringify(LOG)};\nconst { exit, log } = openLog("info");\n${program}`,
    ],
    { encoding: "utf8", timeout: 20_000, maxBuffer: 16 * 1024 * 1024 },
  );
  const messages = stdout.trim().split("\n").filter(Boolean);
  return {
    end: signal ?? status,
    messages: messages.map((line) => JSON.parse(line).n ?? JSON.parse(line).msg),
  };
}

const KILLED = "process.kill(process.pid, 'SIGKILL');";

it.each([
  [
    "has all its lines when it ends in order",
    "log.info('request'); log.info('b'); exit(3); log.info('late');",
    3,
  ],
  ["has them when it dies of an exception", "log.info('request'); log.info('b'); throw new Error();", 1],
  ["has them when it simply ends", "log.info('request'); log.info('b');", 0],
  [
    "has what led to another line before a kill",
    "log.info('request'); log.info('b'); setImmediate(() => setTimeout(() => { KILLED }, 50));",
    "SIGKILL",
  ],
  [
    "has what is older than a moment before a kill",
    "log.info('b'); log.info('request'); setTimeout(() => { KILLED }, 1_000);",
    "SIGKILL",
  ],
])("%s", (_, program, end) => {
  const { end: ended, messages } = said(program.replace("KILLED", KILLED));
  expect(ended).toBe(end);
  expect(messages.sort()).toEqual(["b", "request"]);
});

it("has many lines in their order", () => {
  const { end, messages } = said("for (let n = 0; n < 20_000; n += 1) log.info({ n }, 'request'); exit(0);");
  expect(end).toBe(0);
  expect(messages).toEqual(Array.from({ length: 20_000 }, (_, n) => n));
});
