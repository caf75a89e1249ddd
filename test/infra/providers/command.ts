/** `pulumi-resource-command`: runs the shell commands of `command.local.Command` for real. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { type Properties, type ResourceHandler, serve } from "./server.ts";

const KEPT = 1024 * 1024;

function run(line: string, inputs: Properties, previous: Properties): Promise<Properties> {
  return new Promise((resolve, reject) => {
    const environment = inputs.environment as Record<string, string> | undefined;
    const child = spawn("/bin/sh", ["-c", line], {
      cwd: typeof inputs.dir === "string" ? inputs.dir : undefined,
      env: {
        ...process.env,
        PULUMI_COMMAND_STDOUT: String(previous.stdout ?? ""),
        PULUMI_COMMAND_STDERR: String(previous.stderr ?? ""),
        ...environment,
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout = (stdout + chunk.toString()).slice(-KEPT);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-KEPT);
    });
    // A command that ends without reading its input is not an error of ours.
    child.stdin.on("error", () => {});
    child.stdin.end(typeof inputs.stdin === "string" ? inputs.stdin : "");
    child.on("error", reject);
    child.on("close", (code) => {
      // As the real provider gives it: without the last line's end.
      if (code === 0) resolve({ stdout: stdout.replace(/\n$/, ""), stderr: stderr.replace(/\n$/, "") });
      else reject(new Error(`exit status ${code}: running ${JSON.stringify(line)}:\n${stderr}\n${stdout}`));
    });
  });
}

const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : null);

const localCommand: ResourceHandler = {
  // Whether there is an `update` or not.
  replaceOn: ["triggers"],
  spreadsSecrets: true,
  async create(inputs) {
    const line = text(inputs.create);
    return { id: randomUUID(), outputs: line === null ? {} : await run(line, inputs, {}) };
  },
  async update(_id, inputs, old) {
    const line = text(inputs.update) ?? text(inputs.create);
    return line === null ? {} : run(line, inputs, old);
  },
  async delete(_id, state) {
    const line = text(state.delete);
    if (line !== null) await run(line, state, state);
  },
};

serve({
  version: "1.2.1",
  handler(type) {
    if (type === "command:local:Command") return localCommand;
    throw new Error(`the test provider does not know ${type}`);
  },
});
