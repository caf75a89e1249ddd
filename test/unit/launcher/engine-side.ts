/** What the launcher has on its other sides: an engine, its framing, and a supervisor behind it. */
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { encodeFrame, FrameDecoder } from "../../../gateway/common/protocol/frames.ts";
import { type HelloRequest, PROTOCOL_VERSION } from "../../../gateway/common/protocol/messages.ts";
import type { Engine } from "../../../gateway/launcher/engine/engine.ts";

function unexpected(call: keyof Engine): () => Promise<never> {
  return () => Promise.reject(new Error(`the test did not expect the engine to be asked: ${call}`));
}

/** Answers what a test stubbed, and throws on every other call. */
export function strictEngine(stubs: Partial<Engine>): Engine {
  return {
    version: unexpected("version"),
    imageId: unexpected("imageId"),
    createContainer: unexpected("createContainer"),
    attach: unexpected("attach"),
    startContainer: unexpected("startContainer"),
    signalContainer: unexpected("signalContainer"),
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

/** `payload` in the engine's framing of an attach stream; 1 is standard output, 2 standard error. */
export function attachFrame(payload: Uint8Array, stream = 1): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

/** A supervisor's answer to a hello. */
export function helloReply(parentId: string, nonce: string): Buffer {
  return encodeFrame({
    msg_type: "hello_reply",
    parent_id: parentId,
    content: {
      nonce,
      protocol_version: PROTOCOL_VERSION,
      languages: [],
      executing: null,
      execution_count: 0,
    },
  });
}

/** A supervisor's answer to the hello that it reads from `stream`. */
export async function answerHello(stream: Duplex): Promise<Buffer> {
  const [chunk]: Buffer[] = await once(stream, "data");
  const [frame] = new FrameDecoder().push(chunk ?? Buffer.alloc(0));
  const { msg_id, content }: HelloRequest = JSON.parse(frame?.header.toString() ?? "");
  return helloReply(msg_id, content.nonce);
}
