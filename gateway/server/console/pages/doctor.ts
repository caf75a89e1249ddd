/** The doctor's findings, as far as the running service can find them, with their remedies. */
import { html } from "hono/html";
import type { Finding } from "../../doctor/findings.ts";
import { type Html, moment, table, type View } from "../layout.ts";
import type { Seen } from "../look.ts";

export const doctorPage = ({ text }: View): Html =>
  html`<p class="note">${text.doctorNote}</p>
<div id="findings" hx-get="/parts/findings" hx-trigger="load"><p class="note">${text.looking}</p></div>
<p><button hx-post="/parts/findings" hx-target="#findings" hx-disabled-elt="this">${text.again}</button></p>`;

const WORST_FIRST = ["missing", "weaker", "ok"] as const;

export function findings({ text }: View, { at, value }: Seen<readonly Finding[]>): Html {
  const sorted = [...value].sort(
    (one, other) => WORST_FIRST.indexOf(one.state) - WORST_FIRST.indexOf(other.state),
  );
  return html`<p class="note">${text.asOf} ${moment(at)}</p>
${table(
  [text.state, text.finding, "", text.remedy],
  sorted.map(({ detail, remedy, state, title }) => [
    html`<span class="tag ${state}">${text[`finding_${state}`]}</span>`,
    title,
    detail,
    remedy === undefined ? "–" : html`<code>${remedy}</code>`,
  ]),
)}`;
}
