/** `npm run erase -- --tenant TENANT [--user USER]`: asks the running service of this machine, with the operator's key. */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { OPERATOR_KEY_FILE } from "../../common/keys/api-key.ts";
import { readSecret } from "../../common/keys/secret-file.ts";
import { readSettings, SettingsError } from "../../common/settings/read.ts";
import { Erased } from "../../server/http/routes/operator/erase.ts";

const USAGE = `npm run erase -- --tenant TENANT [--user USER] [--shared-files] [--url URL]

TENANT and USER as the audit log has them (\`tenant\`, \`subject\`); without --user everything of the tenant goes. The operator's key
is KERNELYARD_OPERATOR_KEY, or that of \`npm start\` in the data directory.`;

class EraseError extends Error {
  override readonly name = "EraseError";
}

function operatorKey(dataDir: string, setting: string | null): string {
  if (setting !== null && !setting.startsWith("sha256:")) return setting;
  const path = join(dataDir, "keys", OPERATOR_KEY_FILE);
  try {
    const stored = readSecret(path)?.trim() ?? null;
    if (stored !== null) return stored;
  } catch {
    throw new EraseError(`${path} is root's alone: run this as root, or set KERNELYARD_OPERATOR_KEY.`);
  }
  throw new EraseError(`There is no operator's key: set KERNELYARD_OPERATOR_KEY, as the service has it.`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      tenant: { type: "string" },
      user: { type: "string" },
      "shared-files": { type: "boolean", default: false },
      url: { type: "string" },
    },
  });
  if (values.tenant === undefined) throw new EraseError(USAGE);
  const settings = readSettings(process.env);
  const base = values.url ?? `http://${settings.host}:${settings.port}`;
  const response = await fetch(`${base}/v1/operator/erase`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-operator-key": operatorKey(settings.dataDir, settings.operatorKey),
    },
    body: JSON.stringify({
      tenant: values.tenant,
      ...(values.user === undefined ? {} : { user: values.user }),
      shared_files: values["shared-files"],
    }),
  }).catch((error: unknown) => {
    throw new EraseError(
      `${base} does not answer: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  const body: unknown = await response.json();
  if (!response.ok) throw new EraseError(`Not erased (${response.status}): ${JSON.stringify(body)}`);
  const { ended, kept, removed } = Erased.parse(body);
  const lines = [
    `Ended: ${ended.calls} calls.`,
    `Removed: ${removed.sessions} sessions, ${removed.files} files (${removed.file_bytes} bytes), ${removed.links} links, ${removed.audit_entries} audit entries.`,
    ...kept.map(({ count, what, why }) => `Kept: ${count === null ? "" : `${count} `}${what}: ${why}.`),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

try {
  await main();
} catch (error) {
  const known = error instanceof EraseError || error instanceof SettingsError;
  const text =
    error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  process.stderr.write(`${text}\n`);
  process.exitCode = 1;
}
