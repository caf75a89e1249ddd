/** The one place that reads the stack's configuration. */
import * as pulumi from "@pulumi/pulumi";
import { parseStackConfig } from "./parse.ts";
import { KEYS } from "./schema.ts";
import type { StackConfig } from "./stack-config.ts";

export const PROJECT = "kernelyard";

export interface ReadConfig {
  readonly config: StackConfig;
  /** Further accepted keys, as the gateway's setting writes them; null when there are none. */
  readonly apiKeys: pulumi.Output<string> | null;
}

export function readStackConfig(stack: string): ReadConfig {
  const values = new pulumi.Config(PROJECT);
  const config = parseStackConfig(stack, (key) => values.get(key));
  const secret = values.getSecret(KEYS.apiKeys.name);
  return { config, apiKeys: secret ?? null };
}
