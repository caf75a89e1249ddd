/** `settings.env` in the data directory: what the service was started with, for whoever restores it elsewhere. */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SETTINGS, type SettingSpec } from "../../common/settings/schema.ts";

/** A place of this machine, not a choice. */
const PLACES = new Set(["KERNELYARD_DATA_DIR", "KERNELYARD_LAUNCHER_SOCKET"]);

/** Lines `NAME=VALUE` of the settings that are set; no secret is among them. */
export function settingsFile(env: Readonly<Record<string, string | undefined>>): string {
  return Object.entries<SettingSpec>(SETTINGS)
    .filter(([name, { secret }]) => !secret && !PLACES.has(name))
    .flatMap(([name]) => {
      const value = env[name]?.replaceAll(/[\r\n]/g, "").trim() ?? "";
      return value === "" ? [] : [`${name}=${value}\n`];
    })
    .join("");
}

export function writeSettingsFile(dataDir: string, env: Readonly<Record<string, string | undefined>>): void {
  const path = join(dataDir, "settings.env");
  writeFileSync(`${path}.new`, settingsFile(env), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
