/** The frame of every page, and how values are shown. Whatever a page says goes through `html`, which escapes it. */
import { html } from "hono/html";
import type { Language, Text } from "./texts.ts";

export type Html = ReturnType<typeof html>;

/** What a page knows of whom it is for. */
export interface View {
  readonly language: Language;
  readonly text: Text;
}

export const PAGES = ["overview", "sessions", "files", "usage", "image", "doctor", "audit", "cell"] as const;
export type Page = (typeof PAGES)[number];
export const pathOf = (page: Page): string => (page === "overview" ? "/" : `/${page}`);

/** Nothing is evaluated, and no style is written into the page: the policy allows neither. */
const HTMX =
  '{"includeIndicatorStyles":false,"allowEval":false,"selfRequestsOnly":true,"historyCacheSize":0,"responseHandling":[{"code":".*","swap":true}]}';

export function layout(
  { language, text }: View,
  { page, content }: { readonly page: Page | null; readonly content: Html },
): Html {
  const other = language === "en" ? "ja" : "en";
  const title = page === null ? text.signIn : text[page];
  return html`<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="htmx-config" content="${HTMX}">
<title>${title} – ${text.title}</title>
<link rel="icon" href="/files/icon.svg">
<link rel="stylesheet" href="/files/uPlot.min.css">
<link rel="stylesheet" href="/files/console.css">
<script src="/files/htmx.min.js" defer></script>
<script src="/files/uPlot.iife.min.js" defer></script>
<script src="/files/console.js" defer></script>
</head>
<body>
<a class="skip" href="#content">${text.skip}</a>
<header>
<span class="brand">Kernelyard</span>
${
  page === null
    ? ""
    : html`<nav>${PAGES.map(
        (one) =>
          html`<a href="${pathOf(one)}"${one === page ? html` aria-current="page"` : ""}>${text[one]}</a>`,
      )}</nav>`
}
<span class="aside"><a href="?lang=${other}" lang="${other}" hreflang="${other}">${text.otherLanguage}</a>${
    page === null
      ? ""
      : html`<form method="post" action="/sign-out"><button class="plain">${text.signOut}</button></form>`
  }</span>
</header>
<main id="content" tabindex="-1">
<h1>${title}</h1>
${content}
</main>
</body>
</html>`;
}

/** Filled now, and again while somebody looks at it. `seconds` null: once. */
export function live(path: string, id: string, seconds: number, content: Html | string): Html {
  return html`<div id="${id}" hx-get="${path}" hx-trigger="refresh" data-refresh="${seconds}">${content}</div>`;
}

/** Each row's cells have their column's name for narrow screens. */
export function table(heads: readonly string[], rows: readonly (readonly (Html | string)[])[]): Html {
  return html`<div class="scroll"><table>
<thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${rows.map(
    (cells) =>
      html`<tr>${cells.map((cell, index) => html`<td data-label="${heads[index] ?? ""}"><div>${cell}</div></td>`)}</tr>`,
  )}</tbody>
</table></div>`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [rest, unit] = [value, 0];
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${rest >= 100 || unit === 0 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`;
}

export const count = (value: number | null | undefined): string =>
  value === null || value === undefined ? "–" : String(Math.round(value));

/** `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** By the service's clock, which is the one that the logs have. */
export const moment = (at: Date | string): string =>
  `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
