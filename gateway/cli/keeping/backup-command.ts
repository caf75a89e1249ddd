/** `npm run backup -- DEST`: everything that `npm start` keeps, as one archive that root alone can read. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { DiskReserve } from "../../common/disk-space.ts";
import { readSettings, SettingsError } from "../../common/settings/read.ts";
import { InstanceError, lockFile } from "../../launcher/instance.ts";
import { backUp } from "./backup.ts";
import { CopyError } from "./copies.ts";
import { explained, KeepingError, mustBeRoot, ownVersion, say } from "./place.ts";

const USAGE = "npm run backup -- DEST [--without-sessions]";

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { "without-sessions": { type: "boolean", default: false } },
  });
  const [given, ...more] = positionals;
  if (given === undefined || more.length > 0) throw new KeepingError(USAGE);
  const settings = readSettings(process.env);
  mustBeRoot();
  process.umask(0o077);
  const { dataDir } = settings;
  const destination = resolve(given);
  mkdirSync(dataDir, { recursive: true });
  lockFile(join(dataDir, "backup.lock"), `another backup of ${dataDir} is being made; wait for it`);
  if (settings.fileStore === "s3")
    say(`Files are in the bucket ${settings.s3Bucket}: they are not in this archive.`);
  try {
    await backUp({
      dataDir,
      destination,
      version: ownVersion(),
      reserve: new DiskReserve(dataDir, settings.diskReserveBytes),
      withoutSessions: values["without-sessions"],
    });
  } catch (error) {
    throw explained(error, destination);
  }
}

try {
  await main();
  process.exit(0);
} catch (error) {
  const known =
    error instanceof KeepingError ||
    error instanceof SettingsError ||
    error instanceof InstanceError ||
    error instanceof CopyError;
  const text =
    error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
