/** What tenants have used, by month. */
import { html } from "hono/html";
import type { ConsoleDeps } from "../deps.ts";
import { bytes, count, type Html, span, table, type View } from "../layout.ts";

const MOST_SHOWN = 200;

/** `month`: of which; anything else shows the newest that there is. */
export function usagePage({ text }: View, { usage }: ConsoleDeps, month: string): Html {
  const all = usage
    .tenants()
    .flatMap(({ months, tenant }) => months.map((counts) => ({ tenant, ...counts })));
  const months = [...new Set(all.map((row) => row.month))].sort().reverse();
  const shown = months.find((one) => one === month) ?? months[0];
  if (shown === undefined) return html`<p>${text.noUsage}</p>`;
  const rows = all
    .filter((row) => row.month === shown)
    .sort((one, other) => other.seconds - one.seconds)
    .slice(0, MOST_SHOWN)
    .map((row) => [
      row.tenant,
      count(row.calls),
      span(row.seconds * 1000),
      bytes(row.stored_bytes),
      bytes(row.sent_bytes),
    ]);
  return html`<form class="filter"><label>${text.month} <select name="month">${months.map(
    (one) => html`<option value="${one}"${one === shown ? html` selected` : ""}>${one}</option>`,
  )}</select></label> <button>${text.show}</button></form>
${table([text.tenant, text.calls, text.codeRan, text.filesStored, text.filesSent], rows)}
<p><small>${text.usageNote}</small></p>`;
}
