/**
 * Templates: checkpoints of sandboxes that never ran user code, one for each kind of sandbox. A container starts as any
 * sandbox does, says hello with its libraries imported, gives up its kernel, and is saved.
 */
import { rename } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { LauncherContext } from "../context.ts";
import { cpuShareOf } from "../engine/cpu-share.ts";
import { containerName, LABEL, newId } from "../engine/labels.ts";
import { type CheckpointSupport, type SandboxData, sandboxSpec } from "../spec/create-body.ts";
import { Conversation, ConversationError } from "./conversation.ts";
import type { CheckpointNotes } from "./notes.ts";
import type { CheckpointParts } from "./parts.ts";
import type { CheckpointStore } from "./store.ts";

/** Mounts of a checkpoint cannot change: a session's directory has its place by the kind of its key. */
export type TemplateKind = "fresh" | SessionKey["kind"];

/** `session`: null for a sandbox without one. */
export function templateKindOf(session: SessionKey | null): TemplateKind {
  return session?.kind ?? "fresh";
}

/** What a container of a kind's is made of; the same for a template and for what is made from it. */
export interface TemplateRecipe {
  readonly kind: TemplateKind;
  readonly imageId: string;
  readonly support: CheckpointSupport;
  readonly parts: CheckpointParts;
}

export interface Workshop {
  readonly context: LauncherContext;
  readonly store: CheckpointStore;
  readonly notes: CheckpointNotes;
  /** Ids of containers at work here, which are no sandboxes: a sweep leaves them alone. */
  readonly reserved: Set<string>;
}

/** gVisor saves within a second; a busy disk may take its time. */
export const SAVED_WITHIN_MS = 60_000;
/** The engine's harmless signal: the checkpoint runtime saves where a note says so. */
export const SAVE_SIGNAL = "SIGCONT";
/** Its libraries are imported while it says hello. */
const HELLO_WITHIN_MS = 60_000;
const ANSWER_WITHIN_MS = 10_000;
const ASK_AGAIN_MS = 50;

/** Makes the template and puts it into `directory`; nothing else of it stays. */
export async function makeTemplate(shop: Workshop, recipe: TemplateRecipe, directory: string): Promise<void> {
  const { context, notes, reserved, store } = shop;
  const id = newId();
  const saving = store.savingDirectory(id);
  reserved.add(id);
  try {
    await inContainer(shop, recipe, id, async (containerId) => {
      const stream = await context.engine.attach(containerId);
      try {
        const conversation = new Conversation(stream);
        await context.engine.startContainer(containerId);
        liftCpu(containerId);
        await conversation.hello(HELLO_WITHIN_MS);
        await fallAsleep(conversation);
        notes.save(containerId, saving);
        await context.engine.signalContainer(containerId, SAVE_SIGNAL, SAVED_WITHIN_MS);
        if (!notes.taken(containerId)) throw new NotesUnseen();
      } finally {
        stream.destroy();
        notes.remove(containerId);
      }
    });
    await store.seal.close(saving, {
      owner: templateOwner(recipe.kind),
      parts: recipe.parts,
      saved_at: context.now(),
    });
    await store.remove(directory);
    await rename(saving, directory);
  } finally {
    await store.remove(saving);
    reserved.delete(id);
  }
}

/** The template is one, and whole. */
export async function isTemplate(
  store: CheckpointStore,
  recipe: TemplateRecipe,
  directory: string,
): Promise<boolean> {
  try {
    const manifest = await store.seal.read(directory);
    if (manifest?.owner !== templateOwner(recipe.kind)) return false;
    await store.seal.verifyObjects(directory, manifest);
    await store.seal.verifyMemory(directory, manifest);
    return true;
  } catch {
    return false;
  }
}

/** A sandbox made from the template, for `use` alone; it is gone when this settles. */
export async function withClone<T>(
  shop: Workshop,
  recipe: TemplateRecipe,
  template: string,
  use: (conversation: Conversation) => Promise<T>,
): Promise<T> {
  const { context, notes, reserved } = shop;
  const id = newId();
  reserved.add(id);
  try {
    return await inContainer(shop, recipe, id, async (containerId) => {
      const stream = await context.engine.attach(containerId);
      try {
        const conversation = new Conversation(stream);
        notes.restore(containerId, template);
        await context.engine.startContainer(containerId);
        if (!notes.taken(containerId)) throw new NotesUnseen();
        const content = { fresh: true, memory_bytes: context.settings.memoryBytes };
        await conversation.ask(
          { msg_type: "woken_request", msg_id: conversation.newId(), content },
          "woken_reply",
          ANSWER_WITHIN_MS,
        );
        await conversation.hello(HELLO_WITHIN_MS);
        return await use(conversation);
      } finally {
        stream.destroy();
        notes.remove(containerId);
      }
    });
  } finally {
    reserved.delete(id);
  }
}

/** Notes are left where the runtime does not look: it runs on another host, or sees another `/run`. */
export class NotesUnseen extends Error {
  override readonly name = "NotesUnseen";

  constructor() {
    super(
      "the host's checkpoint runtime does not see the launcher's notes (/run/kernelyard must be the host's own)",
    );
  }
}

function templateOwner(kind: TemplateKind): string {
  return `template:${kind}`;
}

async function inContainer<T>(
  shop: Workshop,
  recipe: TemplateRecipe,
  id: string,
  use: (containerId: string) => Promise<T>,
): Promise<T> {
  const { engine, instance, seccomp, settings, now, stopping } = shop.context;
  stopping.throwIfAborted();
  const body = sandboxSpec({
    id,
    instance,
    createdAt: now(),
    profile: "template",
    imageId: recipe.imageId,
    seccomp: seccomp.json,
    ceilings: settings,
    data: templateData(recipe.kind),
    checkpoints: recipe.support,
  });
  const labels = { ...body.Labels, [LABEL.kind]: "template" };
  const containerId = await engine.createContainer(containerName(id), { ...body, Labels: labels });
  try {
    // Who stops has listed what there is to remove, and this may not have been there yet.
    stopping.throwIfAborted();
    return await use(containerId);
  } finally {
    await engine.removeContainer(containerId);
  }
}

/** A nameless volume of no session's, which goes with its container: what is in it is not part of the checkpoint. */
export function templateData(kind: TemplateKind): SandboxData {
  if (kind === "fresh") return { kind };
  const session: SessionKey =
    kind === "runtime" ? { kind, digest: "-".repeat(21) } : { kind, tenant: "default", name: "template" };
  return { kind: "session", session, owner: null, volume: "", copyOwner: true };
}

async function fallAsleep(conversation: Conversation): Promise<void> {
  const deadline = performance.now() + ANSWER_WITHIN_MS;
  for (;;) {
    const msg_id = conversation.newId();
    const { content } = await conversation.ask(
      { msg_type: "sleep_request", msg_id, content: { template: true } },
      "sleep_reply",
      ANSWER_WITHIN_MS,
    );
    if (content.status === "ready") return;
    if (performance.now() > deadline) throw new ConversationError("the sandbox did not come to rest");
    await delay(ASK_AGAIN_MS);
  }
}

function liftCpu(containerId: string): void {
  try {
    // Its share is never put back: no user's code will run in it.
    cpuShareOf(containerId, 1)?.lift();
  } catch {
    // It starts slower, that is all.
  }
}
