/** A container with the sandbox's runtime and limits that runs `raw_kernel.py`, driven over the engine's attach stream. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import Docker from "dockerode";
import { IMAGE_TAG } from "../../sandbox-image/tools/plan.ts";

const MIB = 1024 * 1024;
const HEADER_BYTES = 8;

export class RawKernel {
  readonly containerId: string;
  readonly #container: Docker.Container;
  readonly #stream: Duplex;
  #buffered: Buffer = Buffer.alloc(0);
  #waiting: ((line: string) => void) | null = null;

  private constructor(container: Docker.Container, stream: Duplex) {
    this.#container = container;
    this.containerId = container.id;
    this.#stream = stream;
    let text = "";
    stream.on("data", (chunk: Buffer) => {
      text += this.#payload(chunk);
      const end = text.indexOf("\n");
      if (end < 0) return;
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      this.#waiting?.(line);
    });
  }

  static async start(): Promise<RawKernel> {
    const docker = new Docker();
    const program = readFileSync(join(import.meta.dirname, "raw_kernel.py"), "utf8");
    const container = await docker.createContainer({
      Image: process.env.KERNELYARD_IMAGE ?? IMAGE_TAG,
      Entrypoint: ["python3", "-u", "-c", program],
      Cmd: [],
      OpenStdin: true,
      AttachStdin: true,
      AttachStdout: true,
      Tty: false,
      Labels: { "kernelyard.bench": String(process.pid) },
      HostConfig: {
        Runtime: "runsc",
        NetworkMode: "none",
        ReadonlyRootfs: true,
        Tmpfs: { "/tmp": "size=64m", "/mnt/data": "size=64m,uid=10001,gid=10001" },
        Memory: 512 * MIB,
        MemorySwap: 512 * MIB,
        NanoCpus: 500_000_000,
        PidsLimit: 1024,
        CapDrop: ["ALL"],
        LogConfig: { Type: "none", Config: {} },
        AutoRemove: true,
      },
    });
    const stream = await container.attach({
      stream: true,
      stdin: true,
      stdout: true,
      stderr: true,
      hijack: true,
    });
    if (!("write" in stream)) throw new Error("the engine gave no writable stream");
    await container.start();
    return new RawKernel(container, stream as Duplex);
  }

  /** Takes the engine's 8-byte headers off. */
  #payload(chunk: Buffer): string {
    this.#buffered = this.#buffered.length === 0 ? chunk : Buffer.concat([this.#buffered, chunk]);
    let text = "";
    while (this.#buffered.length >= HEADER_BYTES) {
      const length = this.#buffered.readUInt32BE(4);
      if (this.#buffered.length < HEADER_BYTES + length) break;
      if (this.#buffered[0] === 1)
        text += this.#buffered.toString("utf8", HEADER_BYTES, HEADER_BYTES + length);
      this.#buffered = this.#buffered.subarray(HEADER_BYTES + length);
    }
    return text;
  }

  async run(code: string, expected: string): Promise<void> {
    const answer = await new Promise<string>((resolve) => {
      this.#waiting = resolve;
      this.#stream.write(`${JSON.stringify(code)}\n`);
    });
    if (answer !== JSON.stringify(expected)) throw new Error(`the raw kernel answered ${answer}`);
  }

  async stop(): Promise<void> {
    this.#stream.destroy();
    await this.#container.kill().catch(() => {});
  }
}
