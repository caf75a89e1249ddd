/** A real Prometheus with the project's own configuration, in front of one gateway. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
const Alerts = z.object({
  alerts: z.array(
    z.object({ state: z.enum(["firing", "pending"]), labels: z.record(z.string(), z.string()) }),
  ),
});

export class Prometheus {
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #port: number;

  private constructor(directory: string, child: ChildProcess, port: number) {
    this.#directory = directory;
    this.#child = child;
    this.#port = port;
  }

  /** Asks once a second instead of every fifteen: the test has no minutes. */
  static async start(target: string): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), "ky-prometheus-"));
    const shipped = readFileSync(join(FOLDER, "prometheus.yaml"), "utf8");
    const config = shipped.replace("127.0.0.1:3113", target).replaceAll("_interval: 15s", "_interval: 1s");
    writeFileSync(join(directory, "prometheus.yaml"), config);
    copyFileSync(join(FOLDER, RULES_FILE), join(directory, RULES_FILE));
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

  /** Names of alerts that fire, and of those that will when what they say lasts (`pending`). */
  async alerts(...states: readonly ("firing" | "pending")[]): Promise<string[]> {
    const { alerts } = Alerts.parse(await this.#ask("alerts"));
    return alerts.filter(({ state }) => states.includes(state)).map(({ labels }) => labels.alertname ?? "");
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
