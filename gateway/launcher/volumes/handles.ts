/**
 * The engine's volumes through which containers mount the data of sessions. Their names are one for the whole engine, on which
 * several data directories may each have a session of the same name: whoever comes second calls its volume by its own name.
 */
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Engine, EngineVolume } from "../engine/engine.ts";
import { encodeSession, LABEL, ownVolumeName, volumeName, volumeOfOwnName } from "../engine/labels.ts";

/** The volume cannot be used; the message says what to do. */
export class VolumeError extends Error {
  override readonly name = "VolumeError";
}

export interface HandlesOptions {
  readonly engine: Engine;
  /** The data directory's id: what its volumes are labelled with. */
  readonly instance: string;
  readonly now: () => number;
}

export class Handles {
  readonly #options: HandlesOptions;

  constructor(options: HandlesOptions) {
    this.#options = options;
  }

  /** The name under which a container mounts the session's data, made as `options` say. Throws `VolumeError`. */
  async ensure(session: SessionKey, options: Readonly<Record<string, string>>): Promise<string> {
    const volume = volumeName(session);
    const { engine } = this.#options;
    const found = await this.#look(volume);
    const present = found.map(({ there }) => there).find((there) => this.#isOurs(there)) ?? null;
    if (present !== null) {
      if (sameOptions(present, options)) return present.name;
      // Neither may stand for the other: the session would find an empty directory.
      if (present.options.device === undefined || options.device === undefined) {
        throw new VolumeError(
          `Docker volume ${present.name} was made without a size limit and has one now (or the reverse); move its files away and remove it (docker volume rm ${present.name})`,
        );
      }
      // Only the handle: the image with the data stays.
      await engine.removeVolume(present.name);
    }
    for (const { name, there } of found) {
      if (there !== null && !this.#isOurs(there)) continue;
      await this.#make(name, session, options);
      // An engine that has one of that name by now gives that one, whoever made it.
      if (this.#isOurs(await engine.volume(name))) return name;
    }
    throw new VolumeError(`Docker volume ${volume} could not be made: another program changes it`);
  }

  async has(volume: string): Promise<boolean> {
    return (await this.#look(volume)).some(({ there }) => this.#isOurs(there));
  }

  /** Fails when a container still mounts it. */
  async remove(volume: string): Promise<void> {
    for (const { name, there } of await this.#look(volume)) {
      if (this.#isOurs(there)) await this.#options.engine.removeVolume(name);
    }
  }

  /** Volumes of sessions, as `volumeName` calls them. */
  async list(): Promise<string[]> {
    const { engine, instance } = this.#options;
    const ours = await engine.listVolumes(`${LABEL.instance}=${instance}`);
    return ours
      .filter(({ labels }) => labels[LABEL.kind] === "session-volume")
      .map(({ name }) => volumeOfOwnName(name, instance) ?? name);
  }

  /** What the engine has under either name of a volume, the first one first. */
  #look(volume: string): Promise<{ readonly name: string; readonly there: EngineVolume | null }[]> {
    const { engine, instance } = this.#options;
    const names = [volume, ownVolumeName(volume, instance)];
    return Promise.all(names.map(async (name) => ({ name, there: await engine.volume(name) })));
  }

  #isOurs(volume: EngineVolume | null): volume is EngineVolume {
    return volume?.labels[LABEL.instance] === this.#options.instance;
  }

  async #make(name: string, session: SessionKey, options: Readonly<Record<string, string>>): Promise<void> {
    const { engine, instance, now } = this.#options;
    const labels = {
      [LABEL.instance]: instance,
      [LABEL.kind]: "session-volume",
      [LABEL.session]: encodeSession(session),
      [LABEL.created]: new Date(now()).toISOString(),
    };
    await engine.createVolume(name, labels, { ...options });
  }
}

function sameOptions(volume: EngineVolume, options: Readonly<Record<string, string>>): boolean {
  const keys = new Set([...Object.keys(volume.options), ...Object.keys(options)]);
  return [...keys].every((key) => volume.options[key] === options[key]);
}
