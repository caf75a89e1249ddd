/** `npm run usage`: what each tenant has used by month, as tab-separated lines. */
import { parseArgs } from "node:util";
import { TenantUsage } from "../../server/http/routes/usage.ts";
import { askService, runCommand } from "../operator.ts";

const HEAD = ["tenant", "month", "calls", "seconds", "stored_bytes", "sent_bytes"] as const;

await runCommand(async () => {
  const { values } = parseArgs({ options: { url: { type: "string" } } });
  const { tenants } = TenantUsage.parse(await askService("usage", { url: values.url }));
  const rows = tenants.flatMap(({ months, tenant }) =>
    months.map((month) => HEAD.map((name) => (name === "tenant" ? JSON.stringify(tenant) : month[name]))),
  );
  return [HEAD, ...rows].map((row) => row.join("\t"));
});
