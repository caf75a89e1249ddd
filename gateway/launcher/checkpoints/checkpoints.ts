/**
 * Whether sandboxes are made from checkpoints on this host, decided by trying, and what they are made from. Whatever
 * fails here makes sandboxes start the cold way: slower, and nothing else.
 */
import type { CheckpointHealth, SessionKey } from "../../common/protocol/launcher-api.ts";
import { CHECKPOINT_RUNTIME_NAME, checkpointRuntimeProblem, insideProblems } from "../../host/isolation.ts";
import type { LauncherContext } from "../context.ts";
import type { EngineRuntime, EngineVersion } from "../engine/engine.ts";
import { EngineAwayError } from "../engine/engine.ts";
import { newId } from "../engine/labels.ts";
import { messageOf } from "../errors.ts";
import { type CheckpointSupport, sandboxSpec } from "../spec/create-body.ts";
import type { Conversation } from "./conversation.ts";
import { reserveOf } from "./disk.ts";
import { CheckpointNotes } from "./notes.ts";
import { type CheckpointParts, checkpointParts, cpuFeatures, keyOf } from "./parts.ts";
import type { CheckpointStore } from "./store.ts";
import {
  isTemplate,
  makeTemplate,
  NotesUnseen,
  type TemplateKind,
  type TemplateRecipe,
  templateData,
  templateKindOf,
  type Workshop,
  withClone,
} from "./template.ts";

export interface Template {
  readonly directory: string;
  readonly parts: CheckpointParts;
}

type State =
  | { readonly state: "off"; readonly reason: string }
  | { readonly state: "preparing"; readonly runtime: EngineRuntime }
  | {
      readonly state: "on";
      readonly runtime: EngineRuntime;
      /** By the digest of their image. */
      readonly templates: ReadonlyMap<string, Readonly<Record<TemplateKind, Template>>>;
    };

/** So many failures without a success between them, and the host is taken for one that cannot. */
const MOST_FAILURES = 3;
const PROVE_WITHIN_MS = 10_000;
const DRAWS = "draws:";
/** What a sandbox says of its isolation, then draws of every generator that Python's users know. */
const QUESTIONS = `import random, uuid, os, numpy, ssl
print(open("/proc/version").read() + open("/proc/self/status").read())
print("${DRAWS}")
for draw in (random.random(), uuid.uuid4().hex, os.urandom(8).hex(), numpy.random.random(), numpy.random.default_rng().random(), ssl.RAND_bytes(8).hex()): print(draw)`;
const DRAWN = 6;

class NoRoom extends Error {
  override readonly name = "NoRoom";
}

export class Checkpoints {
  readonly notes: CheckpointNotes;
  readonly store: CheckpointStore;
  readonly #context: LauncherContext;
  readonly #shop: Workshop;
  #state: State;
  #preparing: Promise<void> | null = null;
  #inARow = 0;
  #restored = 0;
  #failed = 0;

  constructor(
    context: LauncherContext,
    store: CheckpointStore,
    reserved: Set<string>,
    notes = new CheckpointNotes(),
  ) {
    this.#context = context;
    this.store = store;
    this.notes = notes;
    this.#shop = { context, store, notes, reserved };
    this.#state = { state: "off", reason: "the engine has not been asked yet" };
  }

  /** What create bodies need for it; null while checkpoints are off. */
  get support(): CheckpointSupport | null {
    return this.#state.state === "off" ? null : { key: null };
  }

  /** Null until templates are proven, and where they do not work. */
  template(session: SessionKey | null, imageId: string): Template | null {
    if (this.#state.state !== "on") return null;
    return this.#state.templates.get(imageId)?.[templateKindOf(session)] ?? null;
  }

  /** What a checkpoint of a sandbox of this kind is made from now; null while checkpoints are off. */
  parts(session: SessionKey | null, imageId: string): CheckpointParts | null {
    const recipe = this.#recipe(templateKindOf(session), imageId);
    return recipe?.parts ?? null;
  }

  /** Why sandboxes are not made from checkpoints; null when they are, or soon will be. */
  get whyOff(): string | null {
    return this.#state.state === "off" ? this.#state.reason : null;
  }

  /** Before isolation is proven, which then is proven under the runtime chosen here. */
  decide(engine: EngineVersion): void {
    const why = this.#whyNot(engine);
    const runtime = engine.runtimes[CHECKPOINT_RUNTIME_NAME];
    if (why !== null || runtime === undefined) {
      this.turnOff(why ?? "the engine has no checkpoint runtime");
      return;
    }
    this.#state = { state: "preparing", runtime };
  }

  turnOff(reason: string): void {
    const before = this.#state;
    if (before.state === "off" && before.reason === reason) return;
    this.#state = { state: "off", reason };
    const { log, settings } = this.#context;
    const says = "checkpoints are off: sandboxes start the slow way, sessions do not sleep";
    if (settings.checkpoints === "off") log.info({ reason }, says);
    else log.warn({ reason }, says);
  }

  /** Makes and proves templates of these images, in the background; joins the preparation that is under way. */
  prepare(imageIds: readonly string[]): Promise<void> {
    this.#preparing ??= this.#prepare(imageIds).finally(() => {
      this.#preparing = null;
    });
    return this.#preparing;
  }

  /** Resolves when no template is in the making, and nothing of one is left in the engine. */
  async atRest(): Promise<void> {
    await this.#preparing;
  }

  /** A sandbox was restored from a template. */
  succeeded(): void {
    this.#restored += 1;
    this.#inARow = 0;
  }

  /** One could not be; it starts the cold way. */
  failure(error: unknown): void {
    this.#failed += 1;
    this.#inARow += 1;
    const reason = messageOf(error);
    this.#context.log.error(
      { reason, in_a_row: this.#inARow },
      "a sandbox could not be restored from a checkpoint",
    );
    if (this.#inARow >= MOST_FAILURES) {
      this.turnOff(`${MOST_FAILURES} restores in a row failed, the last one so: ${reason}`);
    }
  }

  /** A session could not be: its own state may be the reason, so that says nothing of the host. */
  sessionFailed(): void {
    this.#failed += 1;
  }

  health(): CheckpointHealth {
    const { asleep } = this.store;
    return {
      state: this.#state.state,
      reason: this.#state.state === "off" ? this.#state.reason : null,
      sleeping: asleep.count,
      sleeping_bytes: asleep.bytes,
      restored: this.#restored,
      failed: this.#failed,
    };
  }

  #whyNot(engine: EngineVersion): string | null {
    const { settings } = this.#context;
    if (settings.checkpoints === "off") return "KERNELYARD_CHECKPOINTS=off";
    if (settings.isolation !== "runsc") return "only gVisor saves and restores sandboxes";
    if (process.arch !== "x64") return `gVisor does not restore safely on ${process.arch} yet`;
    return checkpointRuntimeProblem(engine.runtimes);
  }

  #recipe(kind: TemplateKind, imageId: string): TemplateRecipe | null {
    const { support } = this;
    if (support === null || this.#state.state === "off") return null;
    const { instance, now, seccomp, settings } = this.#context;
    const body = sandboxSpec({
      id: newId(),
      instance,
      createdAt: now(),
      profile: "template",
      imageId,
      seccomp: seccomp.json,
      ceilings: settings,
      data: templateData(kind),
      checkpoints: support,
    });
    const parts = checkpointParts({ runtime: this.#state.runtime, cpu: cpuFeatures(), body });
    return { kind, imageId, support, parts };
  }

  async #prepare(imageIds: readonly string[]): Promise<void> {
    const { log, stopping } = this.#context;
    const began = performance.now();
    try {
      const templates = new Map<string, Readonly<Record<TemplateKind, Template>>>();
      for (const imageId of imageIds) {
        const ofImage = await this.#prepareImage(imageId);
        if (ofImage === null) return;
        templates.set(imageId, ofImage);
      }
      if (this.#state.state === "off") return;
      this.#state = { state: "on", runtime: this.#state.runtime, templates };
      this.#inARow = 0;
      log.info({ ms: Math.round(performance.now() - began) }, "checkpoints are on");
      await this.#removeOthers([...templates.values()].flatMap((ofImage) => Object.values(ofImage)));
    } catch (error) {
      if (stopping.aborted) return;
      if (error instanceof EngineAwayError) log.warn({ reason: error.message }, "templates are not made yet");
      else if (error instanceof NotesUnseen || error instanceof NoRoom) this.turnOff(error.message);
      else this.turnOff(`a template could not be made or restored: ${messageOf(error)}`);
    }
  }

  /** Null when checkpoints were turned off meanwhile. */
  async #prepareImage(imageId: string): Promise<Readonly<Record<TemplateKind, Template>> | null> {
    const fresh = await this.#ready("fresh", imageId);
    const runtime = await this.#ready("runtime", imageId);
    const named = await this.#ready("named", imageId);
    if (fresh === null || runtime === null || named === null) return null;
    await this.#prove(fresh.recipe, fresh.template);
    return { fresh: fresh.template, runtime: runtime.template, named: named.template };
  }

  async #ready(
    kind: TemplateKind,
    imageId: string,
  ): Promise<{ readonly recipe: TemplateRecipe; readonly template: Template } | null> {
    const recipe = this.#recipe(kind, imageId);
    if (recipe === null) return null;
    this.notes.prepare();
    const directory = this.store.templateDirectory(keyOf(recipe.parts));
    if (!(await isTemplate(this.store, recipe, directory))) {
      await this.#roomForTemplate();
      await makeTemplate(this.#shop, recipe, directory);
    }
    return { recipe, template: { directory, parts: recipe.parts } };
  }

  /** Whatever it may take: a full disk would cost those who are awake their files. */
  async #roomForTemplate(): Promise<void> {
    const { settings, volumes } = this.#context;
    const needed = settings.memoryBytes + (await reserveOf(volumes));
    if ((await this.store.freeBytes()) < needed) {
      throw new NoRoom("the disk of KERNELYARD_DATA_DIR has no room for templates");
    }
  }

  /** Two sandboxes of one template answer, are isolated, and agree on nothing that is random. */
  async #prove(recipe: TemplateRecipe, template: Template): Promise<void> {
    const ask = async () => {
      const answer = await withClone(this.#shop, recipe, template.directory, (conversation: Conversation) =>
        conversation.execute(QUESTIONS, PROVE_WITHIN_MS),
      );
      const [said = "", drawn = ""] = answer.split(DRAWS);
      const [problem] = insideProblems(said, { gvisor: true });
      if (problem !== undefined) throw new Error(`a clone is not isolated: ${problem}`);
      return drawn.trim().split("\n");
    };
    // One after the other: their memory is no part of the budget.
    const one = await ask();
    const other = await ask();
    if (one.length !== DRAWN || other.length !== DRAWN) throw new Error("a clone does not run code");
    const same = one.filter((drawn, i) => drawn === other[i]);
    if (same.length > 0) throw new Error(`two clones drew the same random number (${same[0]})`);
  }

  async #removeOthers(kept: readonly Template[]): Promise<void> {
    const directories = new Set(kept.map(({ directory }) => directory));
    for (const key of await this.store.templates()) {
      const directory = this.store.templateDirectory(key);
      if (!directories.has(directory)) await this.store.remove(directory);
    }
  }
}
