/** The last entries of the audit log. */
import { html } from "hono/html";
import { AUDIT_ACTIONS } from "../../audit/entry.ts";
import type { ConsoleDeps } from "../deps.ts";
import { type Html, moment, table, type View } from "../layout.ts";

const MOST_READ = 2000;
const MOST_SHOWN = 200;

/** `action`: of which entries; anything else shows all. */
export async function auditPage({ text }: View, { audit }: ConsoleDeps, action: string): Promise<Html> {
  if (audit === null) return html`<p>${text.noAudit}</p>`;
  const wanted = AUDIT_ACTIONS.find((one) => one === action) ?? null;
  const entries = (await audit.recent(MOST_READ))
    .filter((entry) => wanted === null || entry.action === wanted)
    .slice(0, MOST_SHOWN);
  const rows = entries.map((entry) => [
    moment(entry.time),
    entry.action,
    `${entry.tenant} / ${entry.subject}`,
    html`<span class="tag ${entry.status < 400 ? "ok" : "missing"}">${entry.status}</span> <small>${entry.error ?? entry.outcome ?? ""}</small>`,
    html`<code>${entry.session ?? "–"}</code>`,
    entry.language ?? "–",
    `${Math.round(entry.duration_ms)} ms`,
  ]);
  const option = (value: string, shown: string) =>
    html`<option value="${value}"${value === (wanted ?? "") ? html` selected` : ""}>${shown}</option>`;
  return html`<form class="filter"><label>${text.action} <select name="action">${option("", text.all)}${AUDIT_ACTIONS.map((one) => option(one, one))}</select></label> <button>${text.show}</button></form>
${
  rows.length === 0
    ? html`<p>${text.noEntries}</p>`
    : table(
        [text.time, text.action, text.subject, text.status, text.session, text.language, text.duration],
        rows,
      )
}`;
}
