/** `npm run restore -- SRC`: what `npm run backup` made, into a data directory; the service must not run. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { launcherAnswers } from "../../common/protocol/readiness.ts";
import { readSettings, SettingsError } from "../../common/settings/read.ts";
import type { Owner } from "../../host/data-directory.ts";
import { InstanceError, launcherLock, lockFile } from "../../launcher/instance.ts";
import { ArchiveError } from "./archive.ts";
import { explained, gatewayOwner, KeepingError, mustBeRoot, ownVersion, say } from "./place.ts";
import { restore } from "./restore.ts";

const USAGE = "npm run restore -- SRC [--replace] [--digest HEX] [--new-instance] [--owner UID:GID]";

function ownerOf(text: string | undefined): Owner {
  if (text === undefined) return gatewayOwner();
  const [, uid, gid] = /^(\d{1,9}):(\d{1,9})$/.exec(text) ?? [];
  if (uid === undefined || gid === undefined) throw new KeepingError(`--owner ${text}: is no UID:GID.`);
  return { uid: Number(uid), gid: Number(gid) };
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      replace: { type: "boolean", default: false },
      "new-instance": { type: "boolean", default: false },
      digest: { type: "string" },
      owner: { type: "string" },
    },
  });
  const [given, ...more] = positionals;
  if (given === undefined || more.length > 0) throw new KeepingError(USAGE);
  const { dataDir, launcherSocket } = readSettings(process.env);
  mustBeRoot();
  const owner = ownerOf(values.owner);
  if (await launcherAnswers(launcherSocket)) {
    throw new KeepingError(`The service runs with the data in ${dataDir}: stop it first.`);
  }
  const source = resolve(given);
  if (!existsSync(source)) throw new KeepingError(`${source} is not there.`);
  mkdirSync(dataDir, { recursive: true, mode: 0o755 });
  process.umask(0o077);
  lockFile(launcherLock(dataDir), `The service, or another restore, uses ${dataDir}: stop it first.`);
  try {
    await restore({
      source,
      dataDir,
      version: ownVersion(),
      owner,
      replace: values.replace,
      newInstance: values["new-instance"],
      digest: values.digest?.toLowerCase() ?? null,
    });
  } catch (error) {
    throw explained(error, dataDir);
  }
  const settings = join(dataDir, "settings.env");
  if (!existsSync(settings)) return;
  say(
    `It was started with these settings, which you set again:\n${readFileSync(settings, "utf8").trimEnd()}`,
  );
}

try {
  await main();
  process.exit(0);
} catch (error) {
  const known =
    error instanceof KeepingError || error instanceof SettingsError || error instanceof InstanceError;
  const text =
    error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  process.stderr.write(error instanceof ArchiveError ? `Not restored: ${error.message}\n` : `${text}\n`);
  process.exit(1);
}
