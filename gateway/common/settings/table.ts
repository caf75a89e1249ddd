/** `docs/settings.md`, made from the schema by `npm run generate`. */
import { imageOf } from "../profiles.ts";
import { SETTINGS, type SettingSpec } from "./schema.ts";

const cell = (text: string) => text.replaceAll("|", "\\|");

function shown(fallback: SettingSpec["fallback"]): string {
  if (fallback === null) return "";
  if (typeof fallback === "string") return `\`${cell(fallback)}\``;
  if ("imageOf" in fallback)
    return `that of \`${cell(fallback.imageOf)}\`: \`${imageOf("default")}\`, \`${imageOf("NAME")}\``;
  return "below" in fallback
    ? `\`${cell(fallback.below)}\` in the data directory`
    : `that of \`${cell(fallback.sameAs)}\``;
}

export function settingsDocument(): string {
  const rows = Object.entries(SETTINGS).map(
    ([name, { fallback, about }]) => `| \`${name}\` | ${shown(fallback)} | ${cell(about)} |`,
  );
  return [
    "# Settings",
    "",
    "Gateway and launcher read these variables of their environment, at start. A name that is not in this table or a value",
    "that cannot be used stops the start with a message that names it. An empty value means: not set. Blanks, carriage returns",
    "and quotes around a value, as files of variables may leave them, are not part of it; around an API key they are refused.",
    "",
    "| variable | default | |",
    "|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
