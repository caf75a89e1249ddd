/** What must hold before a sandbox may be made: the image is there, and its isolation has been proven on this engine. */
import { setTimeout as delay } from "node:timers/promises";
import { type ProfileImage, profileTable } from "../../common/profiles.ts";
import type { Checkpoints } from "../checkpoints/checkpoints.ts";
import type { LauncherContext } from "../context.ts";
import { EngineAwayError, EngineRefusedError } from "../engine/engine.ts";
import { newId } from "../engine/labels.ts";
import { IsolationError, LauncherFailure, messageOf } from "../errors.ts";
import type { CheckpointSupport } from "../spec/create-body.ts";
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
  readonly #checkpoints: Checkpoints;
  readonly #reserved: Set<string>;
  #isolation: Isolation = { state: "unproven" };
  #proving: Promise<void> | null = null;
  #again: NodeJS.Timeout | null = null;
  #retryMs = FIRST_RETRY_MS;
  /** By profile. */
  #images: ReadonlyMap<string, string> = new Map();

  /** `reserved`: ids of containers that are no sandboxes; those that prove are among them. */
  constructor(context: LauncherContext, checkpoints: Checkpoints, reserved: Set<string>) {
    this.#context = context;
    this.#checkpoints = checkpoints;
    this.#reserved = reserved;
  }

  /** The digest of each profile's image; empty until the engine was asked. */
  get images(): ReadonlyMap<string, string> {
    return this.#images;
  }

  /** Empty until isolation is proven. */
  get runtimeVersion(): string {
    return this.#isolation.state === "proven" ? this.#isolation.runtimeVersion : "";
  }

  /** Asks again which digests the images' names have. Throws `LauncherFailure` when one has none. */
  async resolveImages(): Promise<void> {
    const { engine, log, settings } = this.#context;
    const found = new Map<string, string>();
    for (const profile of profileTable(settings)) {
      const digest = await engine.imageId(profile.image);
      if (digest === null) throw missingImage(profile);
      if (digest !== this.#images.get(profile.name))
        log.info({ profile: profile.name, image: profile.image, digest }, "sandbox image");
      found.set(profile.name, digest);
    }
    this.#images = found;
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
      await this.resolveImages();
      this.#checkpoints.decide(await this.#context.engine.version());
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
  provenImage(profile: string): string {
    if (this.#isolation.state !== "proven") {
      const message =
        this.#isolation.state === "refused" ? this.#isolation.message : "isolation has not been proven yet";
      throw new LauncherFailure("isolation_refused", message);
    }
    return this.#mustHaveImage(profile);
  }

  /** Under the runtime that sandboxes will have; where that is the checkpoint runtime and it fails, under plain runsc. */
  async #probe(): Promise<void> {
    const { support } = this.#checkpoints;
    try {
      return await this.#probeWith(support);
    } catch (error) {
      if (support === null || !(error instanceof IsolationError)) throw error;
      this.#checkpoints.turnOff(`sandboxes do not start under the checkpoint runtime: ${error.message}`);
    }
    await this.#probeWith(null);
  }

  /** In a sandbox of each image: what runs inside says what confines it. */
  async #probeWith(checkpoints: CheckpointSupport | null): Promise<void> {
    const { log, settings } = this.#context;
    try {
      let runtimeVersion = "";
      for (const imageId of new Set(profileTable(settings).map(({ name }) => this.#mustHaveImage(name))))
        runtimeVersion = await this.#probeImage(imageId, checkpoints);
      this.#isolation = { state: "proven", runtimeVersion };
      if (settings.isolation === "runc-unsafe") {
        log.warn("KERNELYARD_ISOLATION=runc-unsafe: user code shares the host's kernel");
      }
      log.info({ isolation: settings.isolation, runtimeVersion }, "isolation is proven");
    } catch (error) {
      if (!(error instanceof EngineRefusedError)) throw error;
      throw new IsolationError(`The probe container was refused: ${error.message}`, { cause: error });
    }
  }

  async #probeImage(imageId: string, checkpoints: CheckpointSupport | null): Promise<string> {
    const { engine, instance, seccomp, settings } = this.#context;
    const id = newId();
    this.#reserved.add(id);
    try {
      return (
        await probeIsolation({ id, engine, instance, imageId, seccomp, ceilings: settings, checkpoints })
      ).runtimeVersion;
    } finally {
      this.#reserved.delete(id);
    }
  }

  #mustHaveImage(profile: string): string {
    const digest = this.#images.get(profile);
    if (digest !== undefined) return digest;
    throw missingImage(this.#offered(profile));
  }

  #offered(profile: string): ProfileImage {
    const offered = profileTable(this.#context.settings).find(({ name }) => name === profile);
    if (offered !== undefined) return offered;
    throw new LauncherFailure("unknown_profile", `no image profile is named ${profile}`);
  }
}

function missingImage({ name, image }: ProfileImage): LauncherFailure {
  const setting = `KERNELYARD_IMAGE, or KERNELYARD_PROFILES for a profile beside it`;
  return new LauncherFailure(
    "sandbox_failed",
    `the engine has no image ${image} (profile ${name}); build it (npm start does), or set ${setting}`,
  );
}
