/** A cell to try code in: what it prints comes as it is printed, its figures are shown. */
import { html } from "hono/html";
import type { ConsoleDeps } from "../deps.ts";
import type { Html, View } from "../layout.ts";

const EXAMPLE = `import matplotlib.pyplot as plt

for n in range(3):
    print("line", n)
plt.plot([n ** 2 for n in range(20)])
plt.show()`;

export function cellPage({ text }: View, { executor }: ConsoleDeps): Html {
  const languages = executor.languages().map(({ id }) => id);
  const shown = languages.includes("py") ? ["py", ...languages.filter((id) => id !== "py")] : ["py"];
  return html`<form id="cell" data-running="${text.cell_running}" data-stopped="${text.cell_stopped}" data-broken="${text.cell_broken}"
 data-left-out="${text.cell_leftOut}" data-figure="${text.cell_figure}" data-done="${text.cell_done}">
<label for="code">${text.code}</label>
<textarea id="code" name="code" rows="10" spellcheck="false" autocomplete="off" autocapitalize="off">${EXAMPLE}</textarea>
<div class="row">
<label>${text.language} <select name="lang">${shown.map((id) => html`<option>${id}</option>`)}</select></label>
<label><input type="checkbox" name="keep" checked> ${text.keepVariables}</label>
<button id="run" class="main">${text.run}</button>
<button id="stop" type="button" disabled>${text.stop}</button>
<small>${text.runHint}</small>
</div>
</form>
<section aria-labelledby="output-head"><h2 id="output-head">${text.output} <small id="cell-status" role="status"></small></h2>
<div id="output" aria-live="polite"></div></section>`;
}
