/**
 * Proves that the image's own process 1 answers, that its live kernel runs code and keeps state, and that bash programs
 * reach it and get a forked `python3`.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { encodeFrame, FrameDecoder } from "../../../gateway/common/protocol/frames.ts";
import { type GatewayMessage, parseSandboxMessage } from "../../../gateway/common/protocol/messages.ts";
import { docker, engineEnvironment } from "../engine.ts";

const TIMEOUT_MS = 120_000;
const STDERR_KEPT = 4096;

/** What is run, in this order, and what each call prints. */
const CALLS = [
  { language: "py", code: "answer = 6 * 7", prints: "" },
  { language: "py", code: "print(answer)", prints: "42\n" },
  { language: "bash", code: "kernel 'print(answer)'", prints: "42\n" },
  // It says so when it is not a fork.
  { language: "bash", code: "KERNELYARD_PYTHON=explain python3 -c 'print(43)'", prints: "43\n" },
] as const;

const executeRequest = (id: string, language: string, code: string): GatewayMessage => ({
  msg_type: "execute_request",
  msg_id: id,
  content: {
    language,
    args: [],
    code_bytes: Buffer.byteLength(code),
    timeout_ms: 30_000,
    stdout_limit: 1024,
    stderr_limit: 1024,
  },
});

/** `runArgs`: `docker run …` up to and with the image, keeping standard input open. Resolves to why it failed, or null. */
export async function supervisorProblem(runArgs: readonly string[], name: string): Promise<string | null> {
  const child = spawn("docker", runArgs, { env: engineEnvironment(), stdio: ["pipe", "pipe", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_KEPT);
  });
  // Writing to a supervisor that has ended fails; its end is what gets reported.
  child.stdin.on("error", () => {});
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string | null>((resolve) => {
      timer = setTimeout(
        () => resolve(`the supervisor did not finish in ${TIMEOUT_MS / 1000} s`),
        TIMEOUT_MS,
      );
      child.on("error", (error) => resolve(error.message));
      child.on("close", (code) =>
        resolve(`the supervisor ended with ${code ?? "a signal"}: ${stderr.trim()}`),
      );

      const nonce = randomBytes(12).toString("hex");
      const decoder = new FrameDecoder();
      let call = -1;
      let printed = "";
      const next = () => {
        const step = CALLS[++call];
        if (step === undefined) return resolve(null);
        printed = "";
        child.stdin.write(
          encodeFrame(executeRequest(`call-${call}`, step.language, step.code), Buffer.from(step.code)),
        );
      };
      const onFrame = (header: Buffer, body: Buffer) => {
        const message = parseSandboxMessage(header);
        if (message === null) return resolve(`not a message: ${header.toString("utf8").slice(0, 500)}`);
        if (message.msg_type === "hello_reply") {
          if (message.content.nonce !== nonce) return resolve("the supervisor answered with another nonce");
          next();
        } else if (message.msg_type === "stream") {
          printed += body.toString("utf8");
        } else if (message.msg_type === "execute_reply") {
          const step = CALLS[call];
          if (message.content.status !== "ok" || printed !== step?.prints) {
            return resolve(
              `\`${step?.code}\` printed ${JSON.stringify(printed)}: ${header.toString("utf8")}`,
            );
          }
          next();
        }
      };
      child.stdout.on("data", (chunk: Buffer) => {
        try {
          for (const frame of decoder.push(chunk)) onFrame(frame.header, frame.body);
        } catch (error) {
          resolve(error instanceof Error ? error.message : String(error));
        }
      });
      child.stdin.write(encodeFrame({ msg_type: "hello_request", msg_id: "hello", content: { nonce } }));
    });
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
    await docker(["rm", "--force", name]);
  }
}
