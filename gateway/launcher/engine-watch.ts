/** Whether the engine is there: follows its events, and connects again when it was away. */
import { setTimeout as delay } from "node:timers/promises";
import type { LauncherHealth } from "../common/protocol/launcher-api.ts";
import type { LauncherContext } from "./context.ts";
import type { EngineEvent } from "./engine/engine.ts";
import { LABEL } from "./engine/labels.ts";
import { LauncherFailure, messageOf } from "./errors.ts";

const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5_000;

export interface EngineWatcher {
  /** The engine is there, for the first time or again. A rejection means that this host cannot make sandboxes. */
  up(): Promise<void>;
  away(): void;
  event(event: EngineEvent): void;
}

export class EngineWatch {
  readonly #context: LauncherContext;
  readonly #watcher: EngineWatcher;
  #state: LauncherHealth["engine"] = { state: "away", message: "the engine has not been asked yet" };
  #following: Promise<void> | null = null;
  /** Ends the present connection to the engine, so that the next one is tried. */
  #connection = new AbortController();

  constructor(context: LauncherContext, watcher: EngineWatcher) {
    this.#context = context;
    this.#watcher = watcher;
  }

  get state(): LauncherHealth["engine"] {
    return this.#state;
  }

  get isUp(): boolean {
    return this.#state.state === "ok" && !this.#context.stopping.aborted;
  }

  /** Throws `LauncherFailure`. */
  mustBeUp(): void {
    if (this.#context.stopping.aborted) {
      throw new LauncherFailure("engine_unavailable", "the launcher is stopping");
    }
    if (this.#state.state === "away") throw new LauncherFailure("engine_unavailable", this.#state.message);
  }

  /** Follows until the launcher stops; resolves or rejects with the first attempt. */
  async start(): Promise<void> {
    const first = Promise.withResolvers<void>();
    this.#following = this.#follow(first);
    await first.promise;
  }

  /** Resolves when it follows no more. */
  async stopped(): Promise<void> {
    await this.#following;
  }

  /** An engine that hangs keeps its connections: it is as good as away. */
  reconnect(reason: Error): void {
    this.#connection.abort(reason);
  }

  async #follow(first: PromiseWithResolvers<void>): Promise<void> {
    const { engine, instance, log, stopping } = this.#context;
    const label = `${LABEL.instance}=${instance}`;
    let backoff = FIRST_BACKOFF_MS;
    while (!stopping.aborted) {
      try {
        this.#connection = new AbortController();
        const events = await engine.events(label, AbortSignal.any([stopping, this.#connection.signal]));
        const { version } = await engine.version();
        this.#state = { state: "ok", version };
        log.info({ version }, "engine is there");
        backoff = FIRST_BACKOFF_MS;
        this.#watcher.up().then(first.resolve, first.reject);
        for await (const event of events) this.#watcher.event(event);
        this.#away("the Docker engine closed its event stream");
      } catch (error) {
        this.#away(messageOf(error));
      }
      first.resolve();
      await delay(backoff, undefined, { signal: stopping }).catch(() => {});
      backoff = Math.min(backoff * 2, LONGEST_BACKOFF_MS);
    }
  }

  #away(message: string): void {
    if (this.#context.stopping.aborted) return;
    if (this.#state.state === "ok") this.#context.log.error({ reason: message }, "engine is away");
    this.#state = { state: "away", message };
    this.#watcher.away();
  }
}
