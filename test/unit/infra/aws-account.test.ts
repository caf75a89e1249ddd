/**
 * The stack of target aws, as the sample has it, in an account that was empty (`infra/providers/account.ts`), which refuses what AWS or
 * its provider refuses: made, changed, and taken away. `test/infra/aws.test.ts` does the same on the real engine.
 */
import { beforeEach, expect, it } from "vitest";
import { z } from "zod";
import { Account } from "../../infra/providers/account.ts";
import { type Graph, type Maker, type Recorded, recordStack, reveal } from "./record.ts";

const KEYS = { AWS_ACCESS_KEY_ID: "AKIATEST", AWS_SECRET_ACCESS_KEY: "secret" };
const RULE = /:SecurityGroup(Ingress|Egress)?Rule$/;
const Inputs = z.record(z.string(), z.unknown());

let account: Account;
/** Ids of what is there, by type and name. */
let there: Map<string, string>;
let graph: Graph;

const ofAws = ({ type }: Pick<Recorded, "type">) => type.startsWith("aws:");
const key = ({ type, name }: Pick<Recorded, "type" | "name">) => `${type} ${name}`;
const seconds = (timeout: unknown) => Number(/^(\d+)s$/.exec(String(timeout))?.[1] ?? 0);

/** As the engine does: what is new or other is made or changed, then what is gone is deleted. Says what is new. */
async function up(changes: Readonly<Record<string, string>> = {}): Promise<string[]> {
  const isNew: string[] = [];
  const replaced: string[] = [];
  const refused: string[] = [];
  const ask: Maker = (type, name, asked) => {
    const inputs = Inputs.parse(reveal(asked));
    if (type === "pulumi:providers:aws") account.configure(inputs, KEYS);
    if (!type.startsWith("aws:")) return null;
    refused.push(...account.wrongInputs(type, name, inputs));
    const id = there.get(key({ type, name }));
    const before = account.made.find((one) => one.id === id);
    if (before !== undefined) {
      const same = JSON.stringify(before.inputs) === JSON.stringify(inputs);
      if (same) return before;
      if (!RULE.test(type)) return { id: before.id, outputs: account.update(before.id, inputs) };
      // A rule that is another one is made before the old one goes.
      replaced.push(before.id);
    }
    const made = account.create(type, name, inputs);
    there.set(key(made), made.id);
    isNew.push(name);
    return made;
  };
  const make: Maker = (type, name, asked) => {
    try {
      return ask(type, name, asked);
    } catch (error) {
      refused.push(`${name}: ${error instanceof Error ? error.message : error}`);
      return null;
    }
  };
  graph = await recordStack("aws", changes, make);
  expect(refused).toEqual([]);
  for (const id of replaced) account.delete(id, 0);
  const wanted = new Set(graph.resources.filter(ofAws).map(key));
  for (const [one, id] of there) {
    if (wanted.has(one)) continue;
    account.delete(id, 0);
    there.delete(one);
  }
  return isNew;
}

beforeEach(() => {
  account = new Account([]);
  there = new Map();
});

it("is made as it is, and all of it goes again in the time that it is given", async () => {
  expect((await up()).length).toBeGreaterThan(40);
  expect(await up()).toEqual([]);
  // The hosts first: they take the longest.
  for (const one of [...graph.resources].reverse().filter(ofAws)) {
    account.delete(there.get(key(one)) ?? "", seconds(graph.options.get(key(one))?.timeouts.delete));
  }
  expect(account.made).toEqual([]);
});

it("lets a range go, and the next one stay what it was", async () => {
  const ranges = (...list: string[]) => ({ "kernelyard:clientCidrs": JSON.stringify(list) });
  await up(ranges("10.0.0.0/16", "10.1.0.0/16"));
  expect(await up(ranges("10.1.0.0/16"))).toEqual([]);
});

it("lets the longest call grow: what works at creation alone stays as it was", async () => {
  await up();
  const settings = JSON.stringify({ KERNELYARD_TIMEOUT_MAX_MS: "900000" });
  expect(await up({ "kernelyard:settings": settings })).toEqual([]);
});

it("needs no engine and no machine to be looked at", () => {
  const providers = graph.resources.flatMap(({ type }) => /^pulumi:providers:(.*)/.exec(type)?.[1] ?? []);
  expect(new Set(providers)).toEqual(new Set(["aws", "command"]));
});
