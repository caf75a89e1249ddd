/** `npm run erase -- --tenant TENANT [--user USER]`: asks the running service of this machine, with the operator's key. */
import { parseArgs } from "node:util";
import { Erased } from "../../server/http/routes/operator/erase.ts";
import { askService, OperatorError, runCommand } from "../operator.ts";

const USAGE = `npm run erase -- --tenant TENANT [--user USER] [--shared-files] [--url URL]

TENANT and USER as the audit log has them (\`tenant\`, \`subject\`); without --user everything of the tenant goes. The operator's key
is KERNELYARD_OPERATOR_KEY, or that of \`npm start\` in the data directory.`;

await runCommand(async () => {
  const { values } = parseArgs({
    options: {
      tenant: { type: "string" },
      user: { type: "string" },
      "shared-files": { type: "boolean", default: false },
      url: { type: "string" },
    },
  });
  if (values.tenant === undefined) throw new OperatorError(USAGE);
  const said = await askService("erase", {
    url: values.url,
    body: {
      tenant: values.tenant,
      ...(values.user === undefined ? {} : { user: values.user }),
      shared_files: values["shared-files"],
    },
  });
  const { ended, kept, removed } = Erased.parse(said);
  return [
    `Ended: ${ended.calls} calls.`,
    `Removed: ${removed.sessions} sessions, ${removed.files} files (${removed.file_bytes} bytes), ${removed.links} links, ${removed.audit_entries} audit entries${removed.audit_bucket_entries === 0 ? "" : ` (and ${removed.audit_bucket_entries} in their bucket alone)`}, ${removed.usage_months} months of usage.`,
    ...kept.map(({ count, what, why }) => `Kept: ${count === null ? "" : `${count} `}${what}: ${why}.`),
  ];
});
