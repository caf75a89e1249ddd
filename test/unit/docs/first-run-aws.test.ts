/** The first run in AWS, as it is described, meets what the stack makes. */
import { expect, it } from "vitest";
import { z } from "zod";
import { readDocument } from "../../support/documents.ts";
import { recordStack, reveal } from "../infra/record.ts";

const Named = z.looseObject({
  name: z.string().optional(),
  bucketPrefix: z.string().optional(),
  initialLifecycleHooks: z.unknown().optional(),
});

it("names of the stack `prod` are those that it gives, and outputs are there", async () => {
  const { resources, outputs } = await recordStack("aws");
  const given = resources.flatMap(({ inputs }) => {
    const { name, bucketPrefix } = Named.parse(reveal(inputs));
    return [name, bucketPrefix === undefined ? undefined : `${bucketPrefix}…`].map((one) =>
      one?.replace("kernelyard-test", "kernelyard-prod"),
    );
  });
  const text = readDocument("docs/first-run-aws.md");
  const table = text.slice(text.indexOf("## What is made, by name"));
  const named = [...table.matchAll(/`(\/?kernelyard-prod[^`]*)`/g)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(9);
  expect(named.filter((name) => !given.includes(name))).toEqual([]);
  // In commands.
  for (const [, name] of text.matchAll(/--auto-scaling-group-names? (\S+)/g)) expect(given).toContain(name);
  for (const [, name] of text.matchAll(/aws logs tail (\S+)/g)) expect(given).toContain(name);
  for (const [, name = ""] of readDocument("docs/deploy.md").matchAll(
    /pulumi stack output (?:--show-secrets )?(\w+)/g,
  ))
    expect(outputs).toHaveProperty(name);
});
