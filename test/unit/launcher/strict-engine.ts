/** An engine that answers what a test stubbed, and throws on every other call. */
import type { Engine } from "../../../gateway/launcher/engine/engine.ts";

function unexpected(call: keyof Engine): () => Promise<never> {
  return () => Promise.reject(new Error(`the test did not expect the engine to be asked: ${call}`));
}

export function strictEngine(stubs: Partial<Engine>): Engine {
  return {
    version: unexpected("version"),
    imageId: unexpected("imageId"),
    createContainer: unexpected("createContainer"),
    attach: unexpected("attach"),
    startContainer: unexpected("startContainer"),
    pid: unexpected("pid"),
    removeContainer: unexpected("removeContainer"),
    listContainers: unexpected("listContainers"),
    createVolume: unexpected("createVolume"),
    volume: unexpected("volume"),
    listVolumes: unexpected("listVolumes"),
    removeVolume: unexpected("removeVolume"),
    events: unexpected("events"),
    ...stubs,
  };
}
