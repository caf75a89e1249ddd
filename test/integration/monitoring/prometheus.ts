/** A real Prometheus with the project's own configuration, in front of one gateway. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { RULES_FILE } from "../../../monitoring/rules.ts";
import { freePort } from "../../support/free-port.ts";
import { prometheusPrograms } from "./promtool.ts";

const FOLDER = join(import.meta.dirname, "../../../monitoring");
const ASK_EVERY_MS = 250;

const Answer = z.object({ status: z.literal("success"), data: z.unknown() });
const Vector = z.object({ result: z.array(z.object({ value: z.tuple([z.number(), z.string()]) })) });
const Matrix = z.object({
  result: z.array(z.object({ values: z.array(z.tuple([z.number(), z.string()])) })),
});
const Alerts = z.object({
  alerts: z.array(
    z.object({ state: z.enum(["firing", "pending"]), labels: z.record(z.string(), z.string()) }),
  ),
});
const Rules = z.object({
  groups: z.array(
    z.object({
      rules: z.array(z.object({ name: z.string(), health: z.string(), lastError: z.string().optional() })),
    }),
  ),
});

/**
 * `shipped`: asks every fifteen seconds, as the configuration says. `hurried`: once a second, a test has no minutes. `brief`: likewise, and
 * every span of the rules is a thirtieth of what it is, so that a fault which has to last a quarter of an hour fires within half a minute.
 */
export type Pace = "shipped" | "hurried" | "brief";

/** `for: 10m` and `[1h]` as a thirtieth of them. */
export const brief = (rules: string) =>
  rules.replaceAll(/(for: |\[)(\d+)(m|h)\b/g, (_, before: string, count: string, unit: string) => {
    return `${before}${Number(count) * (unit === "h" ? 120 : 2)}s`;
  });

export interface Alarm {
  readonly name: string;
  readonly instance: string;
}

export class Prometheus {
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #port: number;

  private constructor(directory: string, child: ChildProcess, port: number) {
    this.#directory = directory;
    this.#child = child;
    this.#port = port;
  }

  /** In front of these targets. */
  static async start(targets: readonly string[], pace: Pace = "hurried"): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), "ky-prometheus-"));
    const shipped = readFileSync(join(FOLDER, "prometheus.yaml"), "utf8").replace(
      '["127.0.0.1:3113"]',
      JSON.stringify(targets),
    );
    const config = pace === "shipped" ? shipped : shipped.replaceAll("_interval: 15s", "_interval: 1s");
    writeFileSync(join(directory, "prometheus.yaml"), config);
    const rules = readFileSync(join(FOLDER, RULES_FILE), "utf8");
    writeFileSync(join(directory, RULES_FILE), pace === "brief" ? brief(rules) : rules);
    const port = await freePort();
    const child = spawn(
      join(prometheusPrograms(), "prometheus"),
      [
        `--config.file=${join(directory, "prometheus.yaml")}`,
        `--storage.tsdb.path=${join(directory, "data")}`,
        `--web.listen-address=127.0.0.1:${port}`,
        "--log.level=warn",
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    const prometheus = new Prometheus(directory, child, port);
    while (!(await prometheus.#ready())) {
      if (child.exitCode !== null) throw new Error(`prometheus ended with ${child.exitCode}`);
      await delay(ASK_EVERY_MS);
    }
    return prometheus;
  }

  /** Values of the series that it has now, those that are no number left out. */
  async query(expr: string): Promise<number[]> {
    const { result } = Vector.parse(await this.#ask(`query?query=${encodeURIComponent(expr)}`));
    return result.map(({ value }) => Number(value[1])).filter((value) => !Number.isNaN(value));
  }

  /** As a panel asks: how many points its lines have together over the last `seconds`, those that are no number left out. */
  async points(expr: string, seconds: number, step: number): Promise<number> {
    const end = Date.now() / 1000;
    const span = `start=${end - seconds}&end=${end}&step=${step}`;
    const { result } = Matrix.parse(await this.#ask(`query_range?query=${encodeURIComponent(expr)}&${span}`));
    return result.flatMap(({ values }) => values).filter(([, value]) => !Number.isNaN(Number(value))).length;
  }

  /** Names of alerts that fire, and of those that will when what they say lasts (`pending`). */
  async alerts(...states: readonly ("firing" | "pending")[]): Promise<string[]> {
    const { alerts } = Alerts.parse(await this.#ask("alerts"));
    return alerts.filter(({ state }) => states.includes(state)).map(({ labels }) => labels.alertname ?? "");
  }

  /** What fires, and for which target. */
  async firing(): Promise<Alarm[]> {
    const { alerts } = Alerts.parse(await this.#ask("alerts"));
    return alerts
      .filter(({ state }) => state === "firing")
      .map(({ labels }) => ({ name: labels.alertname ?? "", instance: labels.instance ?? "" }));
  }

  /** Rules that it could not evaluate the last time, with what it says of them. */
  async brokenRules(): Promise<string[]> {
    const { groups } = Rules.parse(await this.#ask("rules"));
    return groups.flatMap(({ rules }) =>
      rules
        .filter(({ health }) => health === "err")
        .map(({ lastError, name }) => `${name}: ${lastError ?? ""}`),
    );
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      const ended = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #ready(): Promise<boolean> {
    return fetch(`http://127.0.0.1:${this.#port}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  async #ask(what: string): Promise<unknown> {
    const response = await fetch(`http://127.0.0.1:${this.#port}/api/v1/${what}`);
    return Answer.parse(await response.json()).data;
  }
}
