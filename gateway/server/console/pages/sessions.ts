/** All sessions of this host, and what an operator can do to each. */
import { html } from "hono/html";
import { SessionKey } from "../../../common/protocol/launcher-api.ts";
import type { Session } from "../../sessions/session.ts";
import type { ConsoleDeps } from "../deps.ts";
import { bytes, type Html, live, span, table, type View } from "../layout.ts";

const SECONDS = 5;
/** Those that were used last. */
const MOST_SHOWN = 200;

export const ACTIONS = ["interrupt", "restart", "end"] as const;
export type Action = (typeof ACTIONS)[number];
const SURE = { interrupt: "sureInterrupt", restart: "sureRestart", end: "sureEnd" } as const;
const STATES = { none: "none", asleep: "stateAsleep", idle: "idle", busy: "busy" } as const;

export async function sessionsPage(view: View, deps: ConsoleDeps): Promise<Html> {
  return html`<p id="said" role="status" aria-live="polite"></p>
${live("/parts/sessions", "sessions", SECONDS, await sessions(view, deps))}`;
}

export async function sessions(view: View, { launcher, outcomes, sessions }: ConsoleDeps): Promise<Html> {
  const { text } = view;
  const sandboxes = new Map((await launcher.list().catch(() => [])).map((one) => [one.id, one]));
  const all = sessions.all();
  if (all.length === 0) return html`<p>${text.noSessions}</p>`;
  const rows = all.slice(0, MOST_SHOWN).map((session) => {
    const { hasVariables, key, runningMs, state, unusedMs, waiting } = session.view;
    const sandbox = sandboxes.get(session.sandboxId ?? "");
    const more = [
      ...(hasVariables ? [text.variables] : []),
      ...(runningMs === null ? [] : [span(runningMs)]),
      ...(waiting === 0 ? [] : [`${text.waiting}: ${waiting}`]),
    ];
    return [
      html`<code>${key.kind === "named" ? key.name : key.digest}</code>`,
      key.kind === "named" ? key.tenant : "–",
      html`<span class="tag ${state}">${text[STATES[state]]}</span> <small>${more.join(" · ")}</small>`,
      sandbox === undefined ? "–" : span(Date.now() - Date.parse(sandbox.created_at)),
      runningMs === null ? span(unusedMs) : "–",
      bytes(sandbox?.memory_bytes),
      outcomes.of(key) ?? "–",
      controls(view, session),
    ];
  });
  const heads = [
    text.session,
    text.tenant,
    text.state,
    text.age,
    text.unused,
    text.memoryUsed,
    text.lastOutcome,
    text.actions,
  ];
  return html`${table(heads, rows)}${
    all.length > MOST_SHOWN ? html`<p class="note">${MOST_SHOWN} ${text.shownOf} ${all.length}</p>` : ""
  }`;
}

function controls({ text }: View, session: Session): Html {
  const { key, state } = session.view;
  const value = JSON.stringify(key);
  const possible = { interrupt: state === "busy", restart: state !== "none", end: true };
  // The name is in the label: one list of buttons would otherwise read as twenty times the same.
  const name = key.kind === "named" ? key.name : key.digest;
  return html`<div class="actions">${ACTIONS.filter((action) => possible[action]).map(
    (action) =>
      html`<form method="post" action="/sessions/${action}" hx-post="/sessions/${action}" hx-target="#said" hx-confirm="${text[SURE[action]]}"><input type="hidden" name="session" value="${value}"><button id="${action}-${name}" class="${action}" aria-label="${text[action]}: ${name}">${text[action]}</button></form>`,
  )}</div>`;
}

/** Null: it names none. */
export function sessionKeyOf(field: unknown): SessionKey | null {
  if (typeof field !== "string") return null;
  try {
    return SessionKey.parse(JSON.parse(field));
  } catch {
    return null;
  }
}

/** Whether there was anything to do. Rejects as the session's own methods do. */
export async function act(
  action: Action,
  session: Session,
  deps: ConsoleDeps,
  signal: AbortSignal,
): Promise<boolean> {
  switch (action) {
    case "interrupt":
      return session.interrupt();
    case "restart":
      return session.restart();
    case "end": {
      const ended = await session.forget(signal);
      await deps.fleet?.forgotten(session.key);
      return ended;
    }
  }
}
