/**
 * What each profile costs, and that several stand side by side on one host: size, time of a build, start of a fresh call from the pool, memory
 * of an idle session, the checks that each image has passed. Long form: `npm run drill -- figures` builds the other profiles' images and
 * writes the tables into the profiles' README; the short form measures nothing, with the two profiles that CI builds.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LauncherClient } from "../../../gateway/common/protocol/launcher-client.ts";
import { waitFor } from "../../../gateway/common/protocol/readiness.ts";
import { inspectImage, mustDocker } from "../../../sandbox-image/tools/engine.ts";
import { buildImage } from "../../../sandbox-image/tools/image-build.ts";
import { BASE_LABEL } from "../../../sandbox-image/tools/plan.ts";
import { parentOf } from "../../../sandbox-image/tools/profiles.ts";
import { recordedChecks } from "../../../sandbox-image/tools/proof.ts";
import { sandboxRecipe } from "../../../sandbox-image/tools/recipe.ts";
import { thisMachine } from "../../../sandbox-image/tools/this-machine.ts";
import { LONG_FORM } from "../../support/drill.ts";
import { testImageOf } from "../../support/profile-images.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const README = join(import.meta.dirname, "../../../sandbox-image/profiles/README.md");
const BUILT_BY_CI = ["default", "analyst"];
/** Of the others, those that this machine has built. */
const further = await Promise.all(
  (LONG_FORM ? ["documents", "polyglot"] : []).map(async (profile) =>
    (await inspectImage(testImageOf(profile))) === null ? [] : [profile],
  ),
);
const PROFILES = [...BUILT_BY_CI, ...further.flat()];
const ROUNDS = 15;
/** Of the default's: what a larger image may cost a call that takes a waiting sandbox. */
const START_RATIO = 1.5;
const MIB = 1024 * 1024;
/** Three templates are made of each profile before the stack is ready. */
const READY_WITHIN_MS = 600_000;
/** All profiles, with packages from afar. */
const BUILT_WITHIN_MS = 3_600_000;

const keyOf = (profile: string) => `team-${profile}-key-0123456789`;
const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

let stack: Stack;
let launcher: LauncherClient;

beforeAll(async () => {
  const tenants = PROFILES.map((profile) => `team-${profile}=${keyOf(profile)}`);
  stack = await startStack({
    checkpoints: LONG_FORM ? "default" : "off",
    env: {
      KERNELYARD_IMAGE: testImageOf("default"),
      KERNELYARD_PROFILES: PROFILES.slice(1)
        .map((profile) => `${profile}=${testImageOf(profile)}`)
        .join(","),
      KERNELYARD_TENANT_PROFILES: PROFILES.slice(1)
        .map((profile) => `team-${profile}=${profile}`)
        .join(","),
      KERNELYARD_API_KEYS: ["integration-test-key", ...tenants].join(","),
      KERNELYARD_POOL_SIZE: "1",
    },
  });
  launcher = new LauncherClient(join(stack.dataDir, "run/launcher.sock"));
  if (!LONG_FORM) return;
  await waitFor("templates", READY_WITHIN_MS, async () =>
    (await launcher.health()).checkpoints.state === "on" ? true : null,
  );
}, READY_WITHIN_MS);
afterAll(async () => {
  launcher?.close();
  await stack?.stop();
});

async function call(profile: string, path: string, body: object): Promise<string> {
  const response = await stack.post(path, body, { "x-api-key": keyOf(profile) });
  const answer: unknown = await response.json();
  expect(response.status, JSON.stringify(answer)).toBe(200);
  return JSON.stringify(answer);
}

/** The pool has one of each again. */
async function poolIsFull(): Promise<void> {
  await expect
    .poll(async () => {
      const fresh = (await launcher.list()).filter(
        ({ kind, used, attached }) => kind === "fresh" && attached && !used,
      );
      return PROFILES.every((profile) => fresh.some((sandbox) => sandbox.profile === profile));
    })
    .toBe(true);
}

describe("profiles side by side", () => {
  const starts = new Map<string, number>();
  const memory = new Map<string, number>();
  const built = new Map<string, number>();

  const itInLongForm = LONG_FORM ? it : () => {};

  itInLongForm("start a fresh call from the pool in nearly the same time", async () => {
    const times = new Map(PROFILES.map((profile) => [profile, [] as number[]]));
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const profile of PROFILES) {
        // A refill beside the call would be measured with it.
        await poolIsFull();
        const began = performance.now();
        expect(await call(profile, "/v1/exec", { lang: "py", code: "print(6 * 7)" })).toContain('"42\\n"');
        times.get(profile)?.push(performance.now() - began);
      }
    }
    for (const [profile, of] of times) starts.set(profile, median(of));
    const base = starts.get("default") ?? Number.NaN;
    process.stdout.write(`fresh call, p50 in ms: ${JSON.stringify(Object.fromEntries(starts))}\n`);
    for (const profile of PROFILES)
      expect((starts.get(profile) ?? 0) / base, profile).toBeLessThan(START_RATIO);
  });

  itInLongForm("hold an idle session in so much memory", async () => {
    for (const profile of PROFILES) {
      await call(profile, "/run", { session_id: `idle-${profile}`, code: "import pandas; value = 1" });
      const own = (await launcher.list()).filter((one) => one.kind === "session" && one.profile === profile);
      memory.set(profile, own[0]?.memory_bytes ?? 0);
      expect(memory.get(profile)).toBeGreaterThan(0);
    }
    process.stdout.write(
      `idle session, MiB: ${JSON.stringify([...memory].map(([name, n]) => [name, n / MIB]))}\n`,
    );
  });

  it("are each tenant's own: no request reaches another's", async () => {
    for (const profile of PROFILES) {
      const wish = {
        lang: "py",
        code: "import os; print(os.path.exists('/usr/bin/soffice'), os.path.exists('/usr/bin/gcc'))",
      };
      const own = await call(profile, "/v1/exec", wish);
      const other = PROFILES.find((name) => name !== profile);
      expect(await call(profile, "/v1/exec", { ...wish, profile: other })).toContain(
        /"stdout":"[^"]*"/.exec(own)?.[0],
      );
      expect(own).toContain(
        `"${profile === "documents" ? "True" : "False"} ${profile === "polyglot" ? "True" : "False"}\\n"`,
      );
    }
  });

  itInLongForm(
    "are built anew in so much time, each on the one that it adds to",
    async () => {
      for (const profile of PROFILES) {
        const parent = parentOf(profile);
        const labels = (await inspectImage(testImageOf(profile)))?.labels;
        const name = parent === null ? (labels?.[BASE_LABEL] ?? "") : testImageOf(parent);
        const base = { name, id: (await inspectImage(name))?.id ?? "" };
        const began = performance.now();
        const id = await buildImage(
          { ...sandboxRecipe(profile, base, {}), anew: true },
          thisMachine(),
          () => {},
        );
        built.set(profile, (performance.now() - began) / 1000);
        await mustDocker("Removing what was built", ["image", "rm", id]);
      }
      process.stdout.write(`built anew, seconds: ${JSON.stringify(Object.fromEntries(built))}\n`);
    },
    BUILT_WITHIN_MS,
  );

  it("have passed their checks, which the README lists", async () => {
    const rows: string[] = [];
    const lists: string[] = [];
    for (const profile of PROFILES) {
      const name = testImageOf(profile);
      const image = await inspectImage(name);
      expect(image, name).not.toBeNull();
      const checks = recordedChecks(name, image?.id ?? "");
      // Verified by an earlier checkout: then there is nothing to list.
      const seconds = checks?.reduce((sum, check) => sum + check.seconds, 0);
      expect(checks?.every(({ ok }) => ok) ?? true).toBe(true);
      const cells = [
        `\`${profile}\``,
        `${((image?.bytes ?? 0) / 1e9).toFixed(2)} GB`,
        `${Math.round(built.get(profile) ?? 0)} s`,
        checks === null ? "" : `${checks.length} in ${Math.round(seconds ?? 0)} s`,
        `${Math.round(starts.get(profile) ?? 0)} ms`,
        `${Math.round((memory.get(profile) ?? 0) / MIB)} MiB`,
      ];
      rows.push(`| ${cells.join(" | ")} |`);
      const tasks = checks?.filter((check) => / works$|^language /.test(check.check)) ?? [];
      if (tasks.length > 0)
        lists.push(
          `\`${profile}\`: ${tasks.map((one) => `${one.check.replace(/ works$|^language /, "")} ${one.seconds.toFixed(1)}`).join(", ")}.`,
        );
    }
    const head = [
      "| profile | image | built in | checks under gVisor | fresh call, p50 | idle session |",
      "|---|---|---|---|---|---|",
    ];
    const block = [...head, ...rows, "", "One real task of each, in seconds:", "", lists.join("\n\n")].join(
      "\n",
    );
    process.stdout.write(`${block}\n`);
    if (!LONG_FORM) return;
    const text = readFileSync(README, "utf8");
    const marked = /(<!-- figures -->\n)[\s\S]*(\n<!-- end of figures -->)/;
    expect(text).toMatch(marked);
    writeFileSync(
      README,
      text.replace(marked, (_whole, from: string, to: string) => `${from}${block}${to}`),
    );
  });
});
