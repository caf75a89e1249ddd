/** A container with the sandbox's runtime and limits that runs one program, driven over the engine's attach stream by lines. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import Docker from "dockerode";
import { RUNTIME_NAME, SHIPPED_SECCOMP_PROFILE } from "../../../gateway/host/isolation.ts";
import { Demultiplexer } from "../../../gateway/launcher/engine/demultiplexer.ts";
import { IMAGE_TAG } from "../../../sandbox-image/tools/plan.ts";

/** Not where the folder is on the host: the sandbox's user may not enter root's directory, of which every image has one. */
export const MOUNTED = "/srv/mounted";
const MIB = 1024 * 1024;
const NEWLINE = 0x0a;

export const IMAGE = process.env.KERNELYARD_IMAGE ?? IMAGE_TAG;
/** The sandbox's share while user code runs. */
const SHARE = 0.5;

export interface ProgramOptions {
  /** Default: a sandbox's share. */
  readonly cpus?: number;
  readonly env?: readonly string[];
  /** A folder of the host, which the program sees as `MOUNTED` and cannot change. */
  readonly mount?: string;
  readonly memoryMiB?: number;
}

export class LineProgram {
  readonly containerId: string;
  readonly #container: Docker.Container;
  readonly #stream: Duplex;
  /** What is waited for: a line, or so many bytes. */
  #line: { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void } | null = null;
  #bytes: { left: number; readonly resolve: () => void; readonly reject: (error: Error) => void } | null =
    null;
  #text: Buffer[] = [];
  #said = "";
  #ended: Error | null = null;

  private constructor(container: Docker.Container, stream: Duplex, name: string) {
    this.#container = container;
    this.containerId = container.id;
    this.#stream = stream;
    const engine = new Demultiplexer({
      stdout: (slice) => this.#take(slice),
      stderr: (slice) => {
        this.#said = `${this.#said}${slice.toString()}`.slice(-2000);
      },
    });
    stream.on("data", (chunk: Buffer) => engine.push(chunk));
    const end = () => {
      this.#ended = new Error(`${name} ended; it said: ${this.#said}`);
      this.#line?.reject(this.#ended);
      this.#bytes?.reject(this.#ended);
    };
    stream.on("close", end);
    stream.on("end", end);
    stream.on("error", end);
  }

  /** `file`: a Python program of this folder. */
  static async start(file: string, options: ProgramOptions = {}): Promise<LineProgram> {
    const docker = new Docker();
    const program = readFileSync(join(import.meta.dirname, file), "utf8");
    const body: Docker.ContainerCreateOptions = {
      Image: IMAGE,
      Entrypoint: ["python3.11", "-u", "-c", program],
      Cmd: [],
      Env: [...(options.env ?? [])],
      OpenStdin: true,
      // A benchmark that was killed closes the stream: the program ends, and its container with it.
      StdinOnce: true,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: false,
      Labels: { "kernelyard.bench": String(process.pid) },
      HostConfig: {
        Runtime: RUNTIME_NAME,
        NetworkMode: "none",
        ReadonlyRootfs: true,
        Tmpfs: { "/tmp": "size=64m", "/mnt/data": "size=64m,uid=10001,gid=10001" },
        Binds: options.mount === undefined ? [] : [`${options.mount}:${MOUNTED}:ro`],
        Memory: (options.memoryMiB ?? 512) * MIB,
        MemorySwap: (options.memoryMiB ?? 512) * MIB,
        NanoCpus: (options.cpus ?? SHARE) * 1e9,
        PidsLimit: 1024,
        CapDrop: ["ALL"],
        // With the engine's own profile gVisor starts no threads.
        SecurityOpt: ["no-new-privileges", `seccomp=${SHIPPED_SECCOMP_PROFILE}`],
        LogConfig: { Type: "none", Config: {} },
        AutoRemove: true,
      },
    };
    // The profile is too long for the URL, where dockerode would send it as well.
    const split: Docker.ContainerCreateOptions & { _query: object; _body: object } = {
      _query: {},
      _body: body,
    };
    const container = await docker.createContainer(split);
    const stream = await container.attach({
      stream: true,
      stdin: true,
      stdout: true,
      stderr: true,
      hijack: true,
    });
    if (!("write" in stream)) throw new Error("the engine gave no writable stream");
    await container.start();
    return new LineProgram(container, stream as Duplex, file);
  }

  #take(slice: Buffer): void {
    if (this.#bytes !== null) {
      this.#bytes.left -= slice.length;
      if (this.#bytes.left < 0) this.#bytes.reject(new Error("more bytes came than were asked for"));
      if (this.#bytes.left === 0) this.#bytes.resolve();
      return;
    }
    const end = slice.indexOf(NEWLINE);
    this.#text.push(Buffer.from(end < 0 ? slice : slice.subarray(0, end)));
    if (end < 0) return;
    const line = Buffer.concat(this.#text).toString();
    this.#text = end + 1 < slice.length ? [Buffer.from(slice.subarray(end + 1))] : [];
    const waiting = this.#line;
    this.#line = null;
    waiting?.resolve(line);
  }

  /** The next line that it prints. */
  line(): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) reject(this.#ended);
      this.#line = { resolve, reject };
    });
  }

  async ask(line: string): Promise<string> {
    const answer = this.line();
    this.#stream.write(`${line}\n`);
    return answer;
  }

  /** Resolves when it has printed so many bytes after this line. */
  async bytesAfter(line: string, count: number): Promise<void> {
    const all = new Promise<void>((resolve, reject) => {
      this.#bytes = { left: count, resolve, reject };
    });
    this.#stream.write(`${line}\n`);
    await all.finally(() => {
      this.#bytes = null;
    });
  }

  /** Writes the line and these pieces; resolves with the answer. */
  async feed(line: string, pieces: Iterable<Buffer>): Promise<string> {
    const answer = this.line();
    this.#stream.write(`${line}\n`);
    for (const piece of pieces) {
      if (!this.#stream.write(piece))
        await new Promise<void>((resolve) => this.#stream.once("drain", resolve));
    }
    return answer;
  }

  async stop(): Promise<void> {
    this.#stream.destroy();
    await this.#container.kill().catch(() => {});
  }
}
