/** Jupyter Kernel Gateway from the package index, and ipykernel of the sandbox image, under the sandbox's runtime. */
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { mustRun } from "../../../sandbox-image/tools/command.ts";
import { cacheDirectory, ensureUv, IMAGE_LOCK, uvEnvironment } from "../../../sandbox-image/tools/lock.ts";
import { ensureVenv } from "../../../sandbox-image/tools/venv.ts";
import { LineProgram, MOUNTED } from "./line-program.ts";

const GATEWAY = "jupyter-kernel-gateway==3.0.1";
const INSTALL_TIMEOUT_MS = 600_000;

const Answer = z.object({ printed: z.string(), ms: z.number() });

/** A folder with the gateway and what it needs, at the versions of the image's lock; made once. */
async function installed(): Promise<string> {
  const lock = readFileSync(IMAGE_LOCK.lock);
  const key = createHash("sha256").update(GATEWAY).update(lock).digest("hex").slice(0, 16);
  const home = join(cacheDirectory(), `jupyter-${key}`);
  if (existsSync(home)) return home;
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const python = await ensureVenv(say);
  const making = mkdtempSync(join(cacheDirectory(), "making-jupyter-"));
  try {
    say(`Installing ${GATEWAY} (once; a package index must be reachable)`);
    await mustRun(
      `Installing ${GATEWAY}`,
      await ensureUv(),
      [
        ...["pip", "install", "--quiet", "--only-binary=:all:", "--python", python, "--target", making],
        ...["--constraint", IMAGE_LOCK.lock, GATEWAY],
      ],
      { timeoutMs: INSTALL_TIMEOUT_MS, env: uvEnvironment() },
    );
    // The sandbox's user reads it.
    chmodSync(making, 0o755);
    renameSync(making, home);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return home;
}

export class JupyterKernel {
  readonly #program: LineProgram;

  private constructor(program: LineProgram) {
    this.#program = program;
  }

  /** Resolves when it has run something. All CPUs are its own: client, gateway and kernel share the sandbox. */
  static async start(): Promise<JupyterKernel> {
    const mount = await installed();
    const options = { cpus: 2, memoryMiB: 1024, mount, env: [`PYTHONPATH=${MOUNTED}`] };
    const kernel = new JupyterKernel(await LineProgram.start("jupyter_kernel.py", options));
    await kernel.run("print(1+1)", "2\n");
    return kernel;
  }

  /** The client's own milliseconds. */
  async run(code: string, expected: string): Promise<number> {
    const { ms, printed } = Answer.parse(JSON.parse(await this.#program.ask(JSON.stringify(code))));
    if (printed !== expected) throw new Error(`Jupyter's kernel printed ${printed}`);
    return ms;
  }

  stop(): Promise<void> {
    return this.#program.stop();
  }
}
