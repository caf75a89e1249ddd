/** The libraries of the sandbox image, as Python in a sandbox sees them. */
import { z } from "@hono/zod-openapi";
import type { Executor } from "../execution/call.ts";
import { runOnce } from "./look.ts";

const CODE = `
import json, importlib.metadata as metadata
found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
print(json.dumps(sorted(found.items(), key=lambda item: item[0].lower())))
`;

const Libraries = z.array(z.tuple([z.string().max(200), z.string().max(100)])).max(2000);
export type Libraries = z.infer<typeof Libraries>;

/** Rejects when the code could not be run, or did not answer. */
export async function librariesOf(executor: Executor): Promise<Libraries> {
  const ran = await runOnce(executor, CODE);
  if (ran === null || ran.exitCode !== 0) throw new Error("the sandbox did not say which libraries it has");
  return Libraries.parse(JSON.parse(ran.stdout));
}
