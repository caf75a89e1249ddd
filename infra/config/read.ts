/** The one place that reads the stack's configuration. */
import * as pulumi from "@pulumi/pulumi";
import { parseStackConfig } from "./parse.ts";
import { StackConfigError } from "./problems.ts";
import { KEYS } from "./schema.ts";
import type { StackConfig } from "./stack-config.ts";

export const PROJECT = "kernelyard";

export interface ReadConfig {
  readonly config: StackConfig;
  /** Further accepted keys, as the gateway's setting writes them; null when there are none. */
  readonly apiKeys: pulumi.Output<string> | null;
  /** `ID:SECRET` of the bucket; null: not set. */
  readonly fileStoreKey: pulumi.Output<string> | null;
}

export function readStackConfig(stack: string): ReadConfig {
  const values = new pulumi.Config(PROJECT);
  const config = parseStackConfig(stack, (key) => values.get(key));
  const fileStoreKey = values.getSecret(KEYS.fileStoreKey.name) ?? null;
  if (config.target === "hosts" && config.fileStore !== null && fileStoreKey === null) {
    throw new StackConfigError([
      `kernelyard:fileStoreKey is not set, and kernelyard:fileStore is. Remedy: ${KEYS.fileStoreKey.remedy}`,
    ]);
  }
  return {
    config,
    apiKeys: values.getSecret(KEYS.apiKeys.name) ?? null,
    fileStoreKey: fileStoreKey?.apply(checkedKey) ?? null,
  };
}

/** Its value is never repeated in a message. */
function checkedKey(text: string): string {
  if (KEYS.fileStoreKey.schema.safeParse(text).success) return text;
  throw new pulumi.RunError(`kernelyard:fileStoreKey must be ID:SECRET. Remedy: ${KEYS.fileStoreKey.remedy}`);
}
