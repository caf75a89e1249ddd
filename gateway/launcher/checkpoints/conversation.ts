/**
 * The launcher's own talk with the supervisor of a container that no gateway will ever see: one that becomes a template,
 * or proves that templates work. No user's code has run in it; its bytes are bounded all the same.
 */
import type { Duplex } from "node:stream";
import { encodeFrame, FrameDecoder } from "../../common/protocol/frames.ts";
import {
  type GatewayMessage,
  parseSandboxMessage,
  type SandboxMessage,
} from "../../common/protocol/messages.ts";
import { Demultiplexer } from "../engine/demultiplexer.ts";
import { messageOf } from "../errors.ts";

const MAX_DIAGNOSTICS = 4096;
/** Of what a program prints. */
const MAX_OUTPUT = 64 * 1024;

type Of<T extends SandboxMessage["msg_type"]> = Extract<SandboxMessage, { msg_type: T }>;
type Listener = (message: SandboxMessage, body: Buffer) => void;

/** The supervisor did not answer as it should. */
export class ConversationError extends Error {
  override readonly name = "ConversationError";
}

export class Conversation {
  readonly #stream: Duplex;
  readonly #decoder = new FrameDecoder();
  #listener: Listener | null = null;
  #fail: ((error: Error) => void) | null = null;
  #over: Error | null = null;
  #diagnostics = "";
  #ids = 0;

  /** `stream`: an attach stream in the engine's framing. */
  constructor(stream: Duplex) {
    this.#stream = stream;
    const demultiplexer = new Demultiplexer({
      stdout: (slice) => this.#receive(slice),
      stderr: (slice) => {
        if (this.#diagnostics.length < MAX_DIAGNOSTICS) this.#diagnostics += slice.toString();
      },
    });
    stream.on("data", (chunk: Buffer) => {
      try {
        demultiplexer.push(chunk);
      } catch (error) {
        this.#end(error instanceof Error ? error : new Error(String(error)));
      }
    });
    const ended = () => this.#end(new ConversationError(`the sandbox ended: ${this.#diagnostics.trim()}`));
    stream.on("end", ended);
    stream.on("close", ended);
    stream.on("error", (error) => this.#end(error));
  }

  /** Sends a message and gives the reply to it. Rejects with `ConversationError`. */
  ask<T extends SandboxMessage["msg_type"]>(
    message: Extract<GatewayMessage, { msg_id: string }>,
    reply: T,
    withinMs: number,
  ): Promise<Of<T>> {
    const isIt = (heard: SandboxMessage): heard is Of<T> =>
      heard.msg_type === reply && "parent_id" in heard && heard.parent_id === message.msg_id;
    return this.#wait(`${reply} in answer to ${message.msg_type}`, withinMs, (resolve) => {
      this.#listener = (heard) => {
        if (isIt(heard)) resolve(heard);
      };
      this.#send(message);
    });
  }

  async hello(withinMs: number): Promise<void> {
    const id = this.newId();
    const nonce = `launcher-${id}`;
    await this.ask({ msg_type: "hello_request", msg_id: id, content: { nonce } }, "hello_reply", withinMs);
  }

  /** Runs Python and gives its standard output. */
  execute(code: string, withinMs: number): Promise<string> {
    const id = this.newId();
    const body = Buffer.from(code);
    return this.#wait("execute_reply", withinMs, (resolve) => {
      let stdout = "";
      this.#listener = (heard, text) => {
        if (heard.msg_type === "stream" && heard.content.name === "stdout" && stdout.length < MAX_OUTPUT) {
          stdout += text.toString();
        }
        if (heard.msg_type === "execute_reply" && heard.parent_id === id) resolve(stdout);
      };
      const content = {
        language: "py",
        args: [],
        code_bytes: body.length,
        timeout_ms: withinMs,
        stdout_limit: MAX_OUTPUT,
        stderr_limit: MAX_OUTPUT,
      };
      this.#send({ msg_type: "execute_request", msg_id: id, content }, body);
    });
  }

  newId(): string {
    this.#ids += 1;
    return `launcher-${this.#ids}`;
  }

  #send(message: GatewayMessage, body?: Buffer): void {
    this.#stream.write(encodeFrame(message, body));
  }

  #receive(slice: Buffer): void {
    for (const frame of this.#decoder.push(slice)) {
      const message = parseSandboxMessage(frame.header);
      if (message === null) throw new ConversationError("the supervisor sent what is no message");
      this.#listener?.(message, frame.body);
    }
  }

  #wait<T>(what: string, withinMs: number, begin: (resolve: (value: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        this.#listener = null;
        this.#fail = null;
        action();
      };
      const timer = setTimeout(
        () => this.#fail?.(new ConversationError(`no ${what} in ${withinMs} ms`)),
        withinMs,
      );
      this.#fail = (error) => settle(() => reject(error));
      if (this.#over !== null) this.#fail(this.#over);
      else begin((value) => settle(() => resolve(value)));
    });
  }

  #end(error: Error): void {
    this.#over ??= error instanceof ConversationError ? error : new ConversationError(messageOf(error));
    this.#fail?.(this.#over);
  }
}
