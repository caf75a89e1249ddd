/** The floor: IPython in process 1 behind the engine's attach stream, and nothing else in between. */
import { LineProgram } from "./line-program.ts";

export class RawKernel {
  readonly program: LineProgram;

  private constructor(program: LineProgram) {
    this.program = program;
  }

  /** Resolves when it has run something. */
  static async start(): Promise<RawKernel> {
    const kernel = new RawKernel(await LineProgram.start("raw_kernel.py"));
    await kernel.run("print(1+1)", "2\n");
    return kernel;
  }

  async run(code: string, expected: string): Promise<void> {
    const answer = await this.program.ask(JSON.stringify(code));
    if (answer !== JSON.stringify(expected)) throw new Error(`the raw kernel answered ${answer}`);
  }

  stop(): Promise<void> {
    return this.program.stop();
  }
}
