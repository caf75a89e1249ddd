/** What is stored, and what may be. */
import { html } from "hono/html";
import type { ConsoleDeps } from "../deps.ts";
import { bytes, count, type Html, span, table, type View } from "../layout.ts";

export async function filesPage({ text }: View, { files, scrape, settings }: ConsoleDeps): Promise<Html> {
  const [figures, usage] = await Promise.all([
    scrape.read(),
    settings.fileStore === "disk" ? files.usage(null) : null,
  ]);
  const total = settings.filesTotalBytes;
  const free = figures.value("kernelyard_disk_free_bytes");
  return html`<dl class="cards">
<div><dt>${text.storedFiles}</dt><dd>${usage === null ? text.inBucket : html`${usage.files} <small>${bytes(usage.bytes)}${total === null ? "" : ` ${text.of} ${bytes(total)}`}</small>`}${
    usage === null || total === null
      ? ""
      : html`<meter min="0" max="${total}" high="${total * 0.9}" value="${Math.min(usage.bytes, total)}"></meter>`
  }</dd></div>
<div><dt>${text.volumes}</dt><dd>${count(figures.value("kernelyard_session_volumes"))} <small>${bytes(figures.value("kernelyard_session_volume_bytes"))}</small></dd></div>
<div><dt>${text.disk}</dt><dd>${bytes(free)} <small>${text.of} ${bytes(figures.value("kernelyard_disk_total_bytes"))}</small></dd></div>
<div><dt>${text.diskReserve}</dt><dd>${bytes(figures.value("kernelyard_disk_reserve_bytes"))}</dd></div>
</dl>
<h2>${text.quotas}</h2>
${table(
  [text.quotas, "", "KERNELYARD_…"],
  [
    [
      text.volumeSize,
      `${bytes(settings.sessionDiskBytes)} (${figures.value("kernelyard_session_disk_quota") === 0 ? text.softLimit : text.hardLimit})`,
      html`<code>SESSION_DISK</code>`,
    ],
    [text.fileMax, bytes(settings.fileMaxBytes), html`<code>FILE_MAX_BYTES</code>`],
    [text.outputTotal, bytes(settings.outputTotalBytes), html`<code>OUTPUT_TOTAL_BYTES</code>`],
    [text.perUser, bytes(settings.filesPerUserBytes), html`<code>FILES_PER_USER</code>`],
    [text.total, total === null ? text.noLimit : bytes(total), html`<code>FILES_TOTAL</code>`],
    [text.keptFor, span(settings.fileTtlMs), html`<code>FILE_TTL_MS</code>`],
  ],
)}`;
}
