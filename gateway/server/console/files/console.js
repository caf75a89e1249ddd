/* global htmx, uPlot */
/** What pages do by themselves: look again while somebody sees them, draw the last hours, run the cell. */

// ---------------------------------------------------------------- looking again

/** A hidden tab asks for nothing; when it is seen again it does at once. */
function every(seconds, look) {
  let last = Date.now();
  const again = () => {
    last = Date.now();
    look();
  };
  setInterval(() => {
    if (!document.hidden) again();
  }, seconds * 1000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - last > seconds * 1000) again();
  });
}

for (const part of document.querySelectorAll("[data-refresh]")) {
  every(Number(part.dataset.refresh), () => htmx.trigger(part, "refresh"));
  document.body.addEventListener("refresh-now", () => htmx.trigger(part, "refresh"));
}

// ---------------------------------------------------------------- the last hours

const lastHours = document.querySelector("[data-history]");
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const CHARTS = {
  calls: [
    ["requests", "--accent"],
    ["errors", "--bad"],
  ],
  latency: [
    ["p50", "--accent"],
    ["p95", "--warn"],
  ],
  sessions: [
    ["awake", "--accent"],
    ["asleep", "--quiet"],
  ],
};

function draw(element, lines, columns) {
  const axis = {
    stroke: style("--quiet"),
    grid: { stroke: style("--line") },
    ticks: { stroke: style("--line") },
  };
  element.replaceChildren();
  const [hours, moment] = ["{HH}:{mm}", "{YYYY}-{MM}-{DD} {HH}:{mm} UTC"].map((form) => uPlot.fmtDate(form));
  // As the pages' other times are, and the logs': by the service's clock.
  const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
  return new uPlot(
    {
      width: element.clientWidth,
      height: 200,
      cursor: { drag: { x: false, y: false } },
      scales: {
        // A service that has just begun has a moment of history, which is no reason to show years.
        x: { range: (_, first, last) => [Math.min(first, last - 600), last] },
        y: { range: (_, low, high) => [0, Math.max(high ?? 0, low ?? 0, 0.01) * 1.1] },
      },
      tzDate: utc,
      axes: [
        { ...axis, values: (_, times) => times.map((time) => hours(utc(time))) },
        { ...axis, size: 48 },
      ],
      series: [
        {
          label: lastHours.dataset.time,
          value: (_, time) => (time === null ? "–" : moment(utc(time))),
        },
        ...lines.map(([name, colour]) => ({
          label: lastHours.dataset[name],
          stroke: style(colour),
          width: 2,
          spanGaps: false,
        })),
      ],
    },
    [columns.time, ...lines.map(([name]) => columns[name])],
    element,
  );
}

if (lastHours !== null) {
  let columns = null;
  const drawAll = () => {
    if (columns === null || columns.time.length < 2) return;
    lastHours.hidden = false;
    document.getElementById("no-history").hidden = true;
    for (const element of lastHours.querySelectorAll("[data-chart]")) {
      draw(element, CHARTS[element.dataset.chart], columns);
    }
  };
  const look = async () => {
    try {
      const answer = await fetch(lastHours.dataset.history);
      if (answer.ok) columns = await answer.json();
      drawAll();
    } catch {
      // The service is away; the next look may find it.
    }
  };
  look();
  every(Number(lastHours.dataset.every), look);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let resized;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(drawAll, 200);
  });
}

// ---------------------------------------------------------------- the cell

/** More than this many characters of one call are more than a person reads. */
const MOST_SHOWN = 500_000;
const cell = document.getElementById("cell");

/** Server-sent events, out of a reply that a form's POST has. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const event = /^event: (\w+)\ndata: (.*)$/.exec(rest.slice(0, end));
      rest = rest.slice(end + 2);
      if (event !== null) yield { name: event[1], data: JSON.parse(event[2]) };
    }
  }
}

class Output {
  #element = document.getElementById("output");
  #status = document.getElementById("cell-status");
  #shown = 0;
  #figures = new Map();

  clear() {
    this.#element.replaceChildren();
    this.#shown = 0;
    this.#figures.clear();
  }

  status(text) {
    this.#status.textContent = text;
  }

  text(kind, text) {
    const room = MOST_SHOWN - this.#shown;
    if (room <= 0) return;
    this.#shown += text.length;
    const shown = text.slice(0, room);
    const last = this.#element.lastElementChild;
    if (last?.classList.contains(kind)) last.append(shown);
    else {
      const block = document.createElement("pre");
      block.className = kind;
      block.textContent = shown;
      this.#element.append(block);
    }
    this.#element.scrollTop = this.#element.scrollHeight;
  }

  /** A name that comes again is the same figure, drawn anew. */
  figure(name, source) {
    const known = this.#figures.get(name);
    const picture = known ?? document.createElement("img");
    picture.src = source;
    if (known !== undefined) return;
    this.#figures.set(name, picture);
    picture.alt = `${cell.dataset.figure}: ${name}`;
    this.#element.append(picture);
    this.#element.scrollTop = this.#element.scrollHeight;
  }

  shows(name) {
    return this.#figures.has(name);
  }

  file(name) {
    this.text("note", `${name}\n`);
  }
}

const PICTURE = /\.(png|jpe?g|gif|webp|svg)$/i;

function tell(output, { name, data }) {
  switch (name) {
    case "stdout":
    case "stderr":
      output.text(name, data.text);
      break;
    case "display":
      if (typeof data.data === "string" && data.media_type.startsWith("image/")) {
        output.figure(data.name, `data:${data.media_type};base64,${data.data}`);
      }
      break;
    case "left_out":
      output.text("note", `${data.bytes} ${cell.dataset.leftOut}\n`);
      break;
    case "result": {
      for (const file of data.files) {
        if (output.shows(file.name)) continue;
        if (PICTURE.test(file.name)) {
          output.figure(file.name, `/cell/figures/${file.storage_session_id}/${file.id}`);
        } else output.file(file.name);
      }
      const how = data.message ?? data.status ?? `${cell.dataset.done} (${data.code ?? data.signal})`;
      output.status(`${how} · ${data.wall_time} ms`);
      break;
    }
    case "error":
      output.text("stderr", `${data.message ?? data.error}\n`);
      output.status(String(data.status));
      break;
  }
}

if (cell !== null) {
  const [run, stop] = [document.getElementById("run"), document.getElementById("stop")];
  const output = new Output();
  let call = null;
  cell.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (call !== null) return;
    call = new AbortController();
    [run.disabled, stop.disabled] = [true, false];
    output.clear();
    output.status(cell.dataset.running);
    try {
      const answer = await fetch("/cell/run", {
        method: "POST",
        body: new URLSearchParams(new FormData(cell)),
        signal: call.signal,
      });
      if (answer.ok) for await (const one of eventsOf(answer.body)) tell(output, one);
      else {
        output.text("stderr", await answer.text());
        output.status(String(answer.status));
      }
    } catch {
      output.status(call.signal.aborted ? cell.dataset.stopped : cell.dataset.broken);
    }
    call = null;
    [run.disabled, stop.disabled] = [false, true];
  });
  stop.addEventListener("click", () => call?.abort());
  cell.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) cell.requestSubmit();
  });
}
