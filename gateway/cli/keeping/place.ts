/** What both commands ask of this machine before they begin. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Owner } from "../../host/data-directory.ts";
import { SERVICE_USER } from "../../host/isolation.ts";

/** Something the operator has to do; printed without a stack. */
export class KeepingError extends Error {
  override readonly name = "KeepingError";
}

export const say = (line: string) => process.stdout.write(`${line}\n`);

export function mustBeRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new KeepingError("Keys and session volumes are root's alone: run this as root.");
}

/** Of this checkout. */
export function ownVersion(): string {
  const text = readFileSync(join(import.meta.dirname, "../../../package.json"), "utf8");
  return String(JSON.parse(text).version);
}

/** The gateway's user on this machine. Throws `KeepingError`. */
export function gatewayOwner(): Owner {
  const id = (flag: string) => {
    const result = spawnSync("id", [flag, SERVICE_USER], { encoding: "utf8" });
    if (result.status === 0) return Number.parseInt(result.stdout, 10);
    throw new KeepingError(
      `This machine has no user ${SERVICE_USER} yet: run \`bash gateway/host/install.sh\` first, or say whose the gateway's files are (--owner UID:GID).`,
    );
  };
  return { uid: id("-u"), gid: id("-g") };
}

/** Where there is no space left: `where` is named. Other errors as they are. */
export function explained(error: unknown, where: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : null;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new KeepingError(
    `The disk of ${where} is full: nothing was left there. Free space, or choose another place.`,
  );
}

export function formatBytes(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}
