/** How sessions fall asleep: their sandbox is saved as a checkpoint, with which its container ends. */
import type { Slept } from "../../common/protocol/launcher-api.ts";
import type { Checkpoints } from "../checkpoints/checkpoints.ts";
import { reserveOf } from "../checkpoints/disk.ts";
import { keyOf } from "../checkpoints/parts.ts";
import { SAVE_SIGNAL, SAVED_WITHIN_MS } from "../checkpoints/template.ts";
import type { LauncherContext } from "../context.ts";
import { volumeName } from "../engine/labels.ts";
import { memoryUse } from "../engine/memory-use.ts";
import { LauncherFailure, messageOf } from "../errors.ts";
import type { Relay } from "../relay/relay.ts";
import { Attachment } from "./attachment.ts";
import type { SandboxEnds } from "./ends.ts";
import type { SandboxState } from "./state.ts";

/** Saving takes a CPU and the disk: more at once only make each slower. */
const AT_ONCE = 2;
const ANSWER_WITHIN_MS = 5_000;
const NOT_SAVED = "its state could not be saved";

export class SandboxSaving {
  readonly #context: LauncherContext;
  readonly #checkpoints: Checkpoints;
  readonly #ends: SandboxEnds;
  readonly #attachment: Attachment;
  readonly #waiting: (() => void)[] = [];
  #atWork = 0;

  constructor(context: LauncherContext, checkpoints: Checkpoints, ends: SandboxEnds) {
    this.#context = context;
    this.#checkpoints = checkpoints;
    this.#ends = ends;
    this.#attachment = new Attachment(context, ends, checkpoints.store.ledger);
  }

  /** Whether any sandbox of this host may be asked. */
  get possible(): boolean {
    return this.#checkpoints.whyOff === null;
  }

  /**
   * `asleep`: its memory is free, and the session's next sandbox goes on where it was. `busy`: it is as it was before.
   * Throws `LauncherFailure`: `cannot_sleep` where this sandbox never can, or when its turn comes after `before` (by
   * `performance.now()`), `sandbox_failed` when its variables were lost.
   */
  async sleep(sandbox: SandboxState, before: number = Number.POSITIVE_INFINITY): Promise<Slept["state"]> {
    const { session } = sandbox.identity;
    const why = this.#whyNot(sandbox);
    if (session === null || why !== null) {
      throw new LauncherFailure("cannot_sleep", why ?? "only sessions sleep");
    }
    await this.#turn();
    try {
      if (performance.now() > before) {
        throw new LauncherFailure("cannot_sleep", "too many others were to be saved before it");
      }
      const relay = sandbox.beginSave();
      if (relay === null) return "busy";
      return await this.#save(sandbox, relay, volumeName(session));
    } finally {
      this.#atWork -= 1;
      this.#waiting.shift()?.();
    }
  }

  #whyNot({ checkpointKey, identity }: SandboxState): string | null {
    const { whyOff } = this.#checkpoints;
    if (whyOff !== null) return whyOff;
    if (this.#context.settings.sleepAfterMs === 0) return "KERNELYARD_SLEEP_AFTER_MS=0";
    const parts = this.#checkpoints.parts(identity.session, identity.image);
    if (parts !== null && keyOf(parts) === checkpointKey) return null;
    return "it was not started as this host's sandboxes are now";
  }

  async #save(sandbox: SandboxState, relay: Relay, volume: string): Promise<Slept["state"]> {
    const { log } = this.#context;
    const { id } = sandbox.identity;
    const began = performance.now();
    let saved: string | null = null;
    try {
      await this.#makeRoom(sandbox);
      if (!(await atRest(relay, id))) {
        this.#resume(sandbox);
        return "busy";
      }
      saved = await this.#checkpoint(sandbox);
    } catch (error) {
      await this.#failed(sandbox, relay, error);
    }
    if (saved === null) throw new LauncherFailure("cannot_sleep", "it could not be saved, and lives on");
    const savedMs = Math.round(performance.now() - began);
    // Kept before it is gone: who waits for the session's place finds it asleep. The engine clears up meanwhile.
    const kept = await this.#keep(sandbox, saved, volume);
    await this.#ends.asleep(sandbox);
    if (!kept) throw new LauncherFailure("sandbox_failed", NOT_SAVED);
    log.info({ sandbox: id, saved_ms: savedMs, ms: Math.round(performance.now() - began) }, "session asleep");
    return "asleep";
  }

  /** False when the disk failed: the variables are lost. */
  async #keep({ identity }: SandboxState, saved: string, volume: string): Promise<boolean> {
    const { log, now } = this.#context;
    const { store } = this.#checkpoints;
    try {
      const parts = this.#checkpoints.parts(identity.session, identity.image);
      if (parts === null) throw new Error("checkpoints were switched off meanwhile");
      const { owner, session } = identity;
      const of = session === null ? {} : { session: { key: session, owner } };
      await store.seal.close(saved, { owner: volume, parts, saved_at: now(), ...of });
      await store.keepSession(saved, volume);
      return true;
    } catch (error) {
      log.error({ sandbox: identity.id, reason: messageOf(error) }, "a saved session was not kept");
      await store.remove(saved);
      store.ledger.lost(volume, NOT_SAVED);
      return false;
    }
  }

  /** Returns where it was saved to. */
  async #checkpoint(sandbox: SandboxState): Promise<string> {
    const { containerId, identity } = sandbox;
    if (containerId === null) throw new Error("it has no container");
    const { notes, store } = this.#checkpoints;
    const directory = store.savingDirectory(identity.id);
    try {
      // gVisor saves in the sandbox's own time: with a session's share it stands still for most of it.
      await this.#attachment.liftCpu(sandbox, containerId);
      notes.save(containerId, directory);
      await this.#context.engine.signalContainer(containerId, SAVE_SIGNAL, SAVED_WITHIN_MS);
      if (!notes.taken(containerId))
        throw new Error("the checkpoint runtime did not see the launcher's note");
      return directory;
    } catch (error) {
      this.#attachment.restoreCpu(sandbox);
      await store.remove(directory);
      throw error;
    } finally {
      notes.remove(containerId);
    }
  }

  /** A failed save may have left the sandbox alive, or ended it. */
  async #failed(sandbox: SandboxState, relay: Relay, error: unknown): Promise<void> {
    const reason = messageOf(error);
    if (error instanceof LauncherFailure || (await atRest(relay, sandbox.identity.id))) {
      this.#context.log.warn(
        { sandbox: sandbox.identity.id, reason },
        "a session was not saved, and stays awake",
      );
      this.#resume(sandbox);
      return;
    }
    this.#context.log.error(
      { sandbox: sandbox.identity.id, reason },
      "a session was lost while it was saved",
    );
    const { session, id } = sandbox.identity;
    if (session !== null) {
      this.#checkpoints.store.ledger.lost(volumeName(session), NOT_SAVED, id);
    }
    await this.#ends.end(sandbox, "exited", "it ended while it was saved");
    throw new LauncherFailure("sandbox_failed", NOT_SAVED);
  }

  #resume(sandbox: SandboxState): void {
    sandbox.saveFailed();
    this.#ends.settle(sandbox);
  }

  /** Who slept longest gives way. Throws `LauncherFailure`, and leaves all asleep, where that would not be enough. */
  async #makeRoom(sandbox: SandboxState): Promise<void> {
    const { log, settings, volumes } = this.#context;
    const { store } = this.#checkpoints;
    const reserve = await reserveOf(volumes);
    // What it uses now is about what its checkpoint takes.
    const needed = memoryUse(sandbox.containerId) ?? settings.memoryBytes;
    let taken = store.asleep.bytes;
    let free = await store.freeBytes();
    const fits = needed <= settings.sleepDiskBytes && free + taken >= needed + reserve;
    if (!fits)
      throw new LauncherFailure(
        "cannot_sleep",
        "the disk has no room for its memory (KERNELYARD_SLEEP_DISK)",
      );
    for (const { volume, bytes } of store.asleep.list()) {
      if (taken + needed <= settings.sleepDiskBytes && free >= needed + reserve) break;
      log.warn(
        { volume, bytes },
        "a sleeping session gives way: KERNELYARD_SLEEP_DISK, or the disk, is full",
      );
      await store.dropSession(volume, "the disk for sleeping sessions was full");
      taken -= bytes;
      free += bytes;
    }
  }

  async #turn(): Promise<void> {
    if (this.#atWork >= AT_ONCE) await new Promise<void>((go) => this.#waiting.push(go));
    this.#atWork += 1;
  }
}

async function atRest(relay: Relay, id: string): Promise<boolean> {
  const content = { template: false };
  const reply = await relay.ask(
    { msg_type: "sleep_request", msg_id: `launcher-${id}`, content },
    "sleep_reply",
    ANSWER_WITHIN_MS,
  );
  return reply?.content.status === "ready";
}
