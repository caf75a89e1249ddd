/** The one place that reads the stack's configuration. */
import * as pulumi from "@pulumi/pulumi";
import { parseStackConfig, type StackConfig } from "./parse.ts";
import { KEYS } from "./schema.ts";

export const PROJECT = "kernelyard";

export interface ReadConfig {
  readonly config: StackConfig;
  /** Further accepted keys, as the gateway's setting writes them; null when there are none. */
  readonly apiKeys: pulumi.Output<string> | null;
}

export function readStackConfig(): ReadConfig {
  const stack = new pulumi.Config(PROJECT);
  const config = parseStackConfig((key) => stack.get(key));
  const secret = stack.getSecret(KEYS.apiKeys.name);
  return { config, apiKeys: secret ?? null };
}
