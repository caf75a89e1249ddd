/** What tenants have used: kept over restarts, bounded, and nothing but counts. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { MOST_MONTHS, MOST_TENANTS, OTHERS, Usage } from "../../../gateway/server/usage/usage.ts";

let place: string;
let problems: (string | null)[];
let now: number;

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "ky-usage-"));
  problems = [];
  now = Date.UTC(2026, 10, 30);
  return () => rmSync(place, { recursive: true });
});

const opened = (path = join(place, "usage.json")) =>
  new Usage({ path, now: () => now, onProblem: (problem) => void problems.push(problem) });

it("counts by tenant and month, and goes on after a restart", async () => {
  const usage = opened();
  usage.add("acme", { calls: 1, seconds: 0.1 });
  usage.add("acme", { calls: 1, seconds: 0.2, stored_bytes: 5 });
  usage.add("__proto__", { sent_bytes: 7 });
  now += 2 * 86_400_000;
  usage.add("acme", { calls: 1 });
  await usage.close();
  expect(statSync(join(place, "usage.json")).mode & 0o777).toBe(0o600);
  expect(readdirSync(place)).toEqual(["usage.json"]);
  const next = opened();
  expect(next.tenants()).toEqual([
    {
      tenant: "__proto__",
      months: [{ month: "2026-11", calls: 0, seconds: 0, stored_bytes: 0, sent_bytes: 7 }],
    },
    {
      tenant: "acme",
      months: [
        { month: "2026-12", calls: 1, seconds: 0, stored_bytes: 0, sent_bytes: 0 },
        { month: "2026-11", calls: 2, seconds: 0.3, stored_bytes: 5, sent_bytes: 0 },
      ],
    },
  ]);
  next.add("acme", { calls: 1 });
  expect(next.of("acme")[0]?.calls).toBe(2);
  expect(next.of("nobody")).toEqual([]);
  expect(problems).toEqual([]);
});

it("keeps thirteen months, and counts tenants beyond the most together", async () => {
  const usage = opened();
  for (let month = 0; month < 30; month += 1) {
    now = Date.UTC(2026, month, 15);
    usage.add("acme", { calls: 1 });
  }
  expect(usage.of("acme").map(({ month }) => month)).toHaveLength(MOST_MONTHS);
  expect(usage.of("acme")[0]?.month).toBe("2028-06");
  for (let tenant = 0; tenant < MOST_TENANTS + 5; tenant += 1) usage.add(`t${tenant}`, { calls: 1 });
  expect(usage.tenants()).toHaveLength(MOST_TENANTS + 1);
  expect(usage.of(OTHERS)[0]?.calls).toBe(6);
  await usage.close();
  expect(opened().tenants()).toEqual(usage.tenants());
});

it("a tenant that is erased is in the file no more", async () => {
  const usage = opened();
  usage.add("acme", { calls: 1 });
  usage.add("other", { calls: 1 });
  expect(await usage.forget("acme")).toBe(1);
  expect(readFileSync(join(place, "usage.json"), "utf8")).not.toContain("acme");
  expect(await usage.forget("acme")).toBe(0);
  expect(
    opened()
      .tenants()
      .map(({ tenant }) => tenant),
  ).toEqual(["other"]);
});

it("begins anew where the file is none of ours, and says so; a disk that takes nothing costs no call", async () => {
  writeFileSync(join(place, "usage.json"), '{"version":1,"rows":[{"tenant":"a"');
  const usage = opened();
  expect(problems).toEqual([expect.stringContaining("begin anew")]);
  usage.add("acme", { calls: 1 });
  await usage.close();
  expect(opened().of("acme")).toHaveLength(1);
  const nowhere = opened(join(place, "no-such-folder/usage.json"));
  nowhere.add("acme", { calls: 1 });
  await nowhere.close();
  expect(problems.slice(1)).toEqual([expect.stringContaining("not kept")]);
  expect(nowhere.of("acme")[0]?.calls).toBe(1);
});
