/** The host at a glance: does it execute code, what is taken, which alerts' conditions hold, the last hours. */
import { html } from "hono/html";
import type { HealthReport } from "../../execution/canary.ts";
import type { Reading } from "../../metrics/metrics.ts";
import { CONDITIONS } from "../conditions.ts";
import type { ConsoleDeps } from "../deps.ts";
import type { History } from "../history.ts";
import { bytes, count, type Html, live, moment, table, type View } from "../layout.ts";

const SECONDS = 10;
const HISTORY_SECONDS = 30;

export async function overviewPage(view: View, deps: ConsoleDeps): Promise<Html> {
  const { text } = view;
  const chart = (name: "calls" | "latency" | "sessions") =>
    html`<figure><figcaption>${text[`chart_${name}`]}</figcaption><div class="chart" data-chart="${name}"></div></figure>`;
  return html`${live("/parts/overview", "overview", SECONDS, await overview(view, deps))}
<section aria-labelledby="last-hours"><h2 id="last-hours">${text.lastHours}</h2>
<div class="charts" id="history" hidden data-history="/history.json" data-every="${HISTORY_SECONDS}"
 data-time="${text.time}" data-requests="${text.series_requests}" data-errors="${text.series_errors}" data-p50="${text.series_p50}" data-p95="${text.series_p95}"
 data-awake="${text.awake}" data-asleep="${text.asleep}">
${chart("calls")}${chart("latency")}${chart("sessions")}
</div><p class="note" id="no-history">${text.noHistory}</p></section>`;
}

export async function overview(view: View, { health, scrape, fleet }: ConsoleDeps): Promise<Html> {
  const [report, figures] = await Promise.all([health.report(), scrape.read()]);
  return html`${banner(view, report)}
${cards(view, figures)}
${conditions(view, figures)}
${fleet === null ? "" : hosts(view, fleet)}`;
}

function banner({ text }: View, { lastCanary, problem, state }: HealthReport): Html {
  const proven = lastCanary === null ? "" : ` · ${text.lastProof} ${moment(lastCanary.at)}`;
  return html`<p class="banner ${state}" role="status"><strong>${text[`state_${state}`]}</strong>${problem === null ? "" : html` ${problem}`}<span>${proven}</span></p>`;
}

function cards({ text }: View, figures: Reading): Html {
  const value = (name: Parameters<Reading["value"]>[0]) => figures.value(name);
  /** `bestAt`: `most` where a full bar is well. */
  const part = (
    name: string,
    now: number | null,
    most: number | null,
    show: typeof bytes,
    bestAt: "least" | "most" = "least",
  ): Html =>
    html`<div><dt>${name}</dt><dd>${show(now)} <small>${text.of} ${show(most)}</small>${
      now === null || most === null || most === 0
        ? ""
        : html`<meter min="0" max="${most}" high="${most * 0.9}" optimum="${most * (bestAt === "most" ? 1 : 0.5)}" value="${Math.min(now, most)}">${Math.round((100 * now) / most)} %</meter>`
    }</dd></div>`;
  const single = (name: string, shown: string): Html => html`<div><dt>${name}</dt><dd>${shown}</dd></div>`;
  return html`<dl class="cards">
${part(text.placesTaken, value("kernelyard_places_taken"), value("kernelyard_places_capacity"), count)}
${single(text.awake, count(value("kernelyard_sessions_live")))}
${single(text.asleep, count(value("kernelyard_sessions_sleeping")))}
${single(text.running, count(value("kernelyard_executions_running")))}
${single(text.waiting, count(value("kernelyard_calls_waiting")))}
${part(text.pool, value("kernelyard_pool_ready"), value("kernelyard_pool_size"), count, "most")}
${part(text.memory, value("kernelyard_memory_promised_bytes"), value("kernelyard_memory_budget_bytes"), bytes)}
${single(text.disk, `${bytes(value("kernelyard_disk_free_bytes"))}`)}
</dl>`;
}

function conditions({ language, text }: View, figures: Reading): Html {
  const hold = CONDITIONS.filter(({ holds }) => holds(figures));
  return html`<section aria-labelledby="conditions"><h2 id="conditions">${text.conditions}</h2>
${
  hold.length === 0
    ? html`<p class="good">${text.noConditions}</p>`
    : html`<ul class="conditions">${hold.map(
        (one) =>
          html`<li class="${one.severity}"><span class="tag ${one.severity}">${text[one.severity]}</span> ${one[language]} <small>${text.runbook}: ${text.runbooks}#${one.alert.toLowerCase()}</small></li>`,
      )}</ul>`
}
<p class="note">${text.conditionsNote}</p></section>`;
}

function hosts({ text }: View, fleet: NonNullable<ConsoleDeps["fleet"]>): Html {
  const rows = fleet.hosts.map(({ addr, free, id, sessions, state }) => [
    id === fleet.host ? html`<strong>${id}</strong>` : id,
    addr,
    state,
    String(free),
    String(sessions),
  ]);
  return html`<section><h2>${text.hosts}</h2>${fleet.problem === null ? "" : html`<p class="banner unhealthy">${fleet.problem}</p>`}
${table([text.host, text.address, text.state, text.free, text.sessions], rows)}</section>`;
}

/** As uPlot takes it: a list for each series. */
export function historyColumns(history: History) {
  const { points } = history;
  return {
    time: points.map(({ time }) => time),
    requests: points.map(({ requestsPerMinute }) => requestsPerMinute),
    errors: points.map(({ errorsPerMinute }) => errorsPerMinute),
    p50: points.map(({ p50 }) => p50),
    p95: points.map(({ p95 }) => p95),
    awake: points.map(({ awake }) => awake),
    asleep: points.map(({ asleep }) => asleep),
  };
}
