/** Asks the running service of this machine, with the operator's key. */
import { join } from "node:path";
import { OPERATOR_KEY_FILE } from "../common/keys/api-key.ts";
import { readSecret } from "../common/keys/secret-file.ts";
import { readSettings, SettingsError } from "../common/settings/read.ts";

/** For whoever typed the command: its message says what to do. */
export class OperatorError extends Error {
  override readonly name = "OperatorError";
}

function operatorKey(dataDir: string, setting: string | null): string {
  if (setting !== null && !setting.startsWith("sha256:")) return setting;
  const path = join(dataDir, "keys", OPERATOR_KEY_FILE);
  try {
    const stored = readSecret(path)?.trim() ?? null;
    if (stored !== null) return stored;
  } catch {
    throw new OperatorError(`${path} is root's alone: run this as root, or set KERNELYARD_OPERATOR_KEY.`);
  }
  throw new OperatorError(`There is no operator's key: set KERNELYARD_OPERATOR_KEY, as the service has it.`);
}

/** `url`: of another service than this machine's. Throws `OperatorError`, also when the service says no. */
export async function askService(
  path: string,
  { body, url }: { readonly body?: object; readonly url: string | undefined },
): Promise<unknown> {
  const settings = readSettings(process.env);
  const base = url ?? `http://${settings.host}:${settings.port}`;
  const response = await fetch(`${base}/v1/operator/${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      "content-type": "application/json",
      "x-operator-key": operatorKey(settings.dataDir, settings.operatorKey),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    throw new OperatorError(
      `${base} does not answer: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  const said: unknown = await response.json();
  if (!response.ok) throw new OperatorError(`Refused (${response.status}): ${JSON.stringify(said)}`);
  return said;
}

/** The command's process: what it says goes to standard output, why it failed to standard error. */
export async function runCommand(command: () => Promise<readonly string[]>): Promise<void> {
  try {
    process.stdout.write(`${(await command()).join("\n")}\n`);
  } catch (error) {
    const known = error instanceof OperatorError || error instanceof SettingsError;
    const text =
      error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
    process.stderr.write(`${text}\n`);
    process.exitCode = 1;
  }
}
