/** The operator's console of a stack: on each host's own loopback, where its operators come by ssh. Pure. */
import { SETTINGS } from "../../gateway/common/settings/schema.ts";
import type { KeyReader } from "./problems.ts";
import { KEYS } from "./schema.ts";
import type { CommonConfig } from "./stack-config.ts";

/** Null: there is none, without the operator's key or by its port 0. */
export function consolePort({ settings }: Pick<CommonConfig, "settings">): number | null {
  if (settings.KERNELYARD_OPERATOR_KEY === undefined) return null;
  const spec = SETTINGS.KERNELYARD_CONSOLE_PORT;
  const port = spec.schema.parse(settings.KERNELYARD_CONSOLE_PORT ?? spec.fallback);
  return port === 0 ? null : port;
}

/** `taken`: what else a host listens on; null: it does not. */
export function checkConsole(
  common: CommonConfig,
  keys: KeyReader,
  taken: Readonly<Record<string, number | null | undefined>>,
): void {
  const port = consolePort(common);
  for (const [name, other] of Object.entries(taken)) {
    if (port === null || port !== other) continue;
    const remedy = "give the console another port in kernelyard:settings, or 0 for none";
    keys.problem(KEYS.settings, `(KERNELYARD_CONSOLE_PORT) is ${port}, as kernelyard:${name} is`, remedy);
  }
}
