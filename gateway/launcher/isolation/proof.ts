/** What must hold before a sandbox may be made: the image is there, and its isolation has been proven on this engine. */
import { setTimeout as delay } from "node:timers/promises";
import type { LauncherContext } from "../context.ts";
import { EngineAwayError, EngineRefusedError } from "../engine/engine.ts";
import { newId } from "../engine/labels.ts";
import { IsolationError, LauncherFailure, messageOf } from "../errors.ts";
import { probeIsolation } from "./probe.ts";

type Isolation =
  | { readonly state: "unproven" }
  | { readonly state: "proven"; readonly runtimeVersion: string }
  | { readonly state: "refused"; readonly message: string };

const PROVEN_WITHIN_MS = 30_000;
/** Between two proofs while it is not proven. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

export class IsolationProof {
  readonly #context: LauncherContext;
  readonly #probes = new Set<string>();
  #isolation: Isolation = { state: "unproven" };
  #proving: Promise<void> | null = null;
  #again: NodeJS.Timeout | null = null;
  #retryMs = FIRST_RETRY_MS;
  #imageId: string | null = null;

  constructor(context: LauncherContext) {
    this.#context = context;
  }

  /** Ids of the containers that prove, which are no sandboxes. */
  get probes(): ReadonlySet<string> {
    return this.#probes;
  }

  get imageId(): string | null {
    return this.#imageId;
  }

  /** Empty until isolation is proven. */
  get runtimeVersion(): string {
    return this.#isolation.state === "proven" ? this.#isolation.runtimeVersion : "";
  }

  /** Asks again which digest the image's name has. Throws `LauncherFailure` when it has none. */
  async resolveImage(): Promise<void> {
    const { engine, log, settings } = this.#context;
    const imageId = await engine.imageId(settings.image);
    if (imageId === null) throw missingImage(settings.image);
    if (imageId !== this.#imageId) log.info({ image: settings.image, digest: imageId }, "sandbox image");
    this.#imageId = imageId;
  }

  /**
   * Joins the proof that is under way. What fails is tried again, later and later: a host that was slow for a moment
   * is fit. Throws what makes this host unfit; an engine that went away meanwhile is no such thing.
   */
  prove(): Promise<void> {
    clearTimeout(this.#again ?? undefined);
    this.#proving ??= this.#attempt().finally(() => {
      this.#proving = null;
    });
    return this.#proving;
  }

  async #attempt(): Promise<void> {
    const { log, stopping } = this.#context;
    try {
      await this.resolveImage();
      await this.#probe();
      this.#retryMs = FIRST_RETRY_MS;
    } catch (error) {
      if (stopping.aborted) return;
      const message = messageOf(error);
      log.error({ reason: message, retry_ms: this.#retryMs }, "sandboxes cannot be made");
      this.#again = setTimeout(() => void this.prove().catch(() => {}), this.#retryMs).unref();
      this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS);
      if (error instanceof EngineAwayError) return;
      this.#isolation = { state: "refused", message };
      throw error;
    }
  }

  /** The engine may come back as another one: proven again before the next sandbox. */
  forget(): void {
    this.#isolation = { state: "unproven" };
  }

  /** Nothing is tried again. */
  stop(): void {
    clearTimeout(this.#again ?? undefined);
  }

  /** Resolves when it is proven, or a proof is over, within its time; asks for one where nothing is decided. */
  async decided(): Promise<void> {
    const { state } = this.#isolation;
    if (state === "proven" || (state === "refused" && this.#proving === null)) return;
    await Promise.race([this.prove().catch(() => {}), delay(PROVEN_WITHIN_MS)]);
  }

  /** The image to make a sandbox of. Throws `LauncherFailure`. */
  provenImage(): string {
    if (this.#isolation.state !== "proven") {
      const message =
        this.#isolation.state === "refused" ? this.#isolation.message : "isolation has not been proven yet";
      throw new LauncherFailure("isolation_refused", message);
    }
    return this.#mustHaveImage();
  }

  async #probe(): Promise<void> {
    const { engine, instance, log, seccomp, settings } = this.#context;
    const id = newId();
    this.#probes.add(id);
    try {
      const imageId = this.#mustHaveImage();
      const { runtimeVersion } = await probeIsolation({
        id,
        engine,
        instance,
        imageId,
        seccomp,
        ceilings: settings,
      });
      this.#isolation = { state: "proven", runtimeVersion };
      if (settings.isolation === "runc-unsafe") {
        log.warn("KERNELYARD_ISOLATION=runc-unsafe: user code shares the host's kernel");
      }
      log.info({ isolation: settings.isolation, runtimeVersion }, "isolation is proven");
    } catch (error) {
      if (!(error instanceof EngineRefusedError)) throw error;
      throw new IsolationError(`The probe container was refused: ${error.message}`, { cause: error });
    } finally {
      this.#probes.delete(id);
    }
  }

  #mustHaveImage(): string {
    if (this.#imageId !== null) return this.#imageId;
    throw missingImage(this.#context.settings.image);
  }
}

function missingImage(image: string): LauncherFailure {
  return new LauncherFailure(
    "sandbox_failed",
    `the engine has no image ${image}; build it (npm start does), or set KERNELYARD_IMAGE`,
  );
}
