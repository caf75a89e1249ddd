/** Two real Prometheus in front of all hosts: one as shipped, one in a hurry. Knows what was staged, what fired, and what its runbook showed. */
import { setTimeout as delay } from "node:timers/promises";
import { ALERTS } from "../../../../monitoring/alerts.ts";
import { Prometheus } from "../../monitoring/prometheus.ts";
import { asWritten, type Typed, typed } from "../../monitoring/runbook.ts";
import type { Host } from "./hosts.ts";

const LOOK_EVERY_MS = 500;
const FIRES_WITHIN_MS = 150_000;
/** `for: 2m`, the scrape before it and the evaluation after it; or as many of something as a busy machine makes in this time. */
const FIRES_AS_SHIPPED_WITHIN_MS = 240_000;
const QUIET_WITHIN_MS = 60_000;
const DOCTOR = "npm run doctor";

export interface Fault {
  readonly host: Host;
  readonly alerts: readonly string[];
  /** How it was brought about. */
  readonly how: string;
  /** These last briefly enough to be waited for in their own time. */
  readonly asShipped?: boolean;
  /** It may fire already. */
  readonly fromTheStart?: boolean;
  /** It takes the host away for moments: runbooks are read between two of them. */
  readonly between?: boolean;
}

export interface Seen {
  readonly how: string;
  readonly host: string;
  /** Seconds after it was staged, in the hurried Prometheus; null where so many were wanted in a thirtieth of the time that only the shipped one saw them. */
  readonly firedAfter: number | null;
  /** Of the runbook's commands: what they said. */
  readonly said: string;
  /** Commands that ended otherwise than well. */
  readonly ended: readonly string[];
}

const keyOf = (name: string, instance: string) => `${name} ${instance}`;

export class Watch {
  readonly shipped: Prometheus;
  readonly hurried: Prometheus;
  readonly seen = new Map<string, Seen>();
  /** Seconds after it was staged until it fired by the rules and times as they are shipped. */
  readonly asShipped = new Map<string, number>();
  readonly #staged = new Map<string, number>();
  #firing: ReadonlySet<string> = new Set();
  #firingAsShipped: ReadonlySet<string> = new Set();
  readonly #end = new AbortController();
  #looking: Promise<void> = Promise.resolve();
  #doctor: Promise<unknown> = Promise.resolve();

  private constructor(shipped: Prometheus, hurried: Prometheus) {
    this.shipped = shipped;
    this.hurried = hurried;
  }

  static async of(hosts: readonly Host[]): Promise<Watch> {
    const targets = hosts.map(({ instance }) => instance);
    const watch = new Watch(
      await Prometheus.start(targets, "shipped"),
      await Prometheus.start(targets, "brief"),
    );
    watch.#looking = watch.#look();
    return watch;
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#looking;
    await Promise.all([this.shipped.stop(), this.hurried.stop()]);
  }

  async #look(): Promise<void> {
    while (!this.#end.signal.aborted) {
      const [hurried, shipped] = await Promise.all([this.hurried.firing(), this.shipped.firing()]);
      this.#firing = new Set(hurried.map(({ instance, name }) => keyOf(name, instance)));
      this.#firingAsShipped = new Set(shipped.map(({ instance, name }) => keyOf(name, instance)));
      for (const key of this.#firingAsShipped) {
        const staged = this.#staged.get(key);
        const [name = ""] = key.split(" ");
        if (staged !== undefined && !this.asShipped.has(name)) this.asShipped.set(name, seconds(staged));
      }
      await delay(LOOK_EVERY_MS);
    }
  }

  /**
   * Goes on with `more` until all of them fire, and runs what each one's runbook says as soon as it does. What does not fire is told by its
   * absence at the end: other faults are still to come.
   */
  async until(fault: Fault, more: () => Promise<unknown>): Promise<void> {
    const { alerts, asShipped = false, between = false, fromTheStart = false, host, how } = fault;
    const keys = alerts.map((name) => keyOf(name, host.instance));
    const before = performance.now() + QUIET_WITHIN_MS;
    const early = () => !fromTheStart && keys.some((key) => this.#firing.has(key));
    while (early() && performance.now() < before) await delay(LOOK_EVERY_MS);
    const staged = performance.now();
    for (const key of keys) this.#staged.set(key, staged);
    const runbooks: Promise<void>[] = [];
    const left = new Set(alerts);
    const late = () =>
      performance.now() - staged > (asShipped ? FIRES_AS_SHIPPED_WITHIN_MS : FIRES_WITHIN_MS);
    const done = () => left.size === 0 && (!asShipped || alerts.every((name) => this.asShipped.has(name)));
    let underWay: Promise<unknown> | null = null;
    let reading = 0;
    while (!done() && !late()) {
      if (!between || reading === 0)
        underWay ??= more()
          .catch(() => {})
          .finally(() => {
            underWay = null;
          });
      await delay(LOOK_EVERY_MS);
      for (const name of left) {
        const hurried = this.#firing.has(keyOf(name, host.instance));
        if (!hurried && !this.asShipped.has(name)) continue;
        left.delete(name);
        process.stdout.write(`${name}: fires on ${host.name} after ${seconds(staged)} s\n`);
        const read = () => this.#read(name, fault, hurried ? seconds(staged) : null);
        reading += 1;
        const from = between ? (underWay ?? Promise.resolve()) : Promise.resolve();
        runbooks.push(from.then(read).finally(() => (reading -= 1)));
      }
    }
    await Promise.all([...runbooks, underWay]);
    for (const name of left) {
      process.stdout.write(`${name}: does not fire on ${host.name} within ${seconds(staged)} s\n`);
      this.seen.set(name, { how, host: host.name, firedAfter: null, said: "", ended: [] });
    }
  }

  async #read(name: string, { host, how }: Fault, firedAfter: number | null): Promise<void> {
    const said: string[] = [];
    const ended: string[] = [];
    for (const { command } of ALERTS.find((alert) => alert.name === name)?.look ?? []) {
      const { code, stderr, stdout } = await this.#type(command, host);
      if (code !== 0) ended.push(`${command}: ${code}`);
      said.push(`$ ${command}`, stdout, stderr);
    }
    this.seen.set(name, { how, host: host.name, firedAfter, said: said.join("\n"), ended });
  }

  /** One doctor at a time: it measures. */
  async #type(command: string, { instance, shell, stack }: Host): Promise<Typed> {
    const type = () => typed(asWritten(command, stack, instance), shell);
    if (command !== DOCTOR) return type();
    const answer = this.#doctor.then(type);
    this.#doctor = answer;
    return answer;
  }

  /** Alerts, in the rules' order. */
  table(): string {
    const rows = ALERTS.map(({ for: lasts, name }) => {
      const seen = this.seen.get(name);
      const after = seen?.firedAfter ?? null;
      const inItsTime = this.asShipped.get(name);
      const cells = [
        name.padEnd(28),
        (after === null ? "-" : `${after} s`).padStart(6),
        (inItsTime === undefined ? `promtool (${lasts})` : `${inItsTime} s`).padStart(15),
        ` ${seen?.host ?? "-"}: ${seen?.how ?? "was not staged"}`,
      ];
      return `  ${cells.join("  ")}`;
    });
    const head = `  ${"alert".padEnd(28)}  ${"1/30".padStart(6)}  ${"as shipped".padStart(15)}   staged on`;
    return ["", head, ...rows, ""].join("\n");
  }
}

const seconds = (since: number) => Math.round((performance.now() - since) / 1000);
