/**
 * Three hosts of a fleet behind HAProxy, and LibreChat's client packages of both generations before it: whichever host a call reaches, each
 * conversation is one, its files are everywhere, and nothing is run twice.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { LONG_FORM, seeded } from "../../support/drill.ts";
import { Hosts } from "./fleet/hosts.ts";
import { Load } from "./fleet/load.ts";

const PLACES = 3;
const CONVERSATIONS = LONG_FORM ? 30 : 4;
const CALLS = LONG_FORM ? 500 : 36;
const AT_ONCE = LONG_FORM ? 8 : 4;
const LARGE_FILES = LONG_FORM ? 3 : 1;
/** Downloads of one user in a minute. */
const DOWNLOADS = 600;
/** Those that were asked for while the last one was counted. */
const AT_THE_END = 12;
const WITHIN_MS = 900_000;

let hosts: Hosts;
beforeAll(async () => {
  hosts = await Hosts.prepare(PLACES, {
    checkpoints: LONG_FORM ? "ready" : "off",
    env: { KERNELYARD_POOL_SIZE: "1" },
  });
  await Promise.all(Array.from({ length: PLACES }, (_, place) => hosts.start(place)));
}, 600_000);
// Thirty sandboxes end, one host after the other.
afterAll(() => hosts?.stop(), 300_000);

it(`${CALLS} calls of ${CONVERSATIONS} conversations through any of ${PLACES} hosts`, {
  timeout: WITHIN_MS,
}, async () => {
  const load = new Load(hosts, hosts.at(0).stack.apiKey, CONVERSATIONS, seeded(29));
  const large = load.conversations.slice(0, LARGE_FILES).map((one) => load.largeFile(one));
  await Promise.all([load.run(CALLS, AT_ONCE), ...large]);
  // A machine without time refuses calls for a while; it loses none.
  await load.everybody();
  const files = await load.filesAreThere();
  const sessions = await Promise.all(
    Array.from(
      { length: PLACES },
      async (_, place) => (await hosts.at(place).stack.containers("session")).length,
    ),
  );
  process.stdout.write(
    `${load.report()}\n${files} files read again; sessions at each host: ${sessions}; longest call ${Math.round(load.longest.ms)} ms (${load.longest.what})\n`,
  );
  expect(load.problems).toEqual([]);
  expect(sessions.filter((count) => count > 0).length).toBeGreaterThan(1);
  if (!LONG_FORM) return;
  const answered = await load.answeredBeforeRefused({ id: "64f000000000000000000777" }, PLACES * DOWNLOADS);
  process.stdout.write(`one user's downloads before the first refusal, all hosts together: ${answered}\n`);
  expect(answered).toBeGreaterThanOrEqual(DOWNLOADS);
  expect(answered).toBeLessThanOrEqual(DOWNLOADS + AT_THE_END);
});
