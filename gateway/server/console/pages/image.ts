/** Which images run, and which libraries the sandboxes' Python has. */
import { html } from "hono/html";
import type { ConsoleDeps } from "../deps.ts";
import { type Html, moment, table, type View } from "../layout.ts";
import type { Libraries } from "../libraries.ts";
import type { Seen } from "../look.ts";

export async function imagePage({ text }: View, { executor, health }: ConsoleDeps): Promise<Html> {
  const { launcher } = await health.report();
  const images = launcher?.profiles ?? [];
  return html`<h2>${text.images}</h2>
${table(
  [text.profile, text.image, text.digest],
  images.map(({ digest, image, name }) => [name, image, html`<code>${digest}</code>`]),
)}
<h2>${text.languages}</h2>
<p>${executor.languages().map(({ id, version }) => html`<span class="tag">${id} ${version}</span> `)}</p>
<h2>${text.libraries}</h2>
<div id="libraries" hx-get="/parts/libraries" hx-trigger="load"><p class="note">${text.looking}</p></div>`;
}

export const libraries = ({ text }: View, { at, value }: Seen<Libraries>): Html =>
  html`<p class="note">${value.length} · ${text.asOf} ${moment(at)}</p>
<ul class="libraries">${value.map(([name, version]) => html`<li>${name} <small>${version}</small></li>`)}</ul>`;
