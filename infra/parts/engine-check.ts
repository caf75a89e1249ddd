/** Whether this machine's engine can run sandboxes: what is missing, with the command that installs it. */
import { request } from "node:http";
import { z } from "zod";
import {
  INSTALL_COMMAND,
  installedProfile,
  isolationProblems,
  SHIPPED_SECCOMP_PROFILE,
} from "../../gateway/host/isolation.ts";

const ANSWER_WITHIN_MS = 10_000;
const LONGEST_ANSWER = 4 * 1024 * 1024;

export const EngineInfo = z.object({
  Runtimes: z
    .record(z.string(), z.object({ runtimeArgs: z.array(z.string()).nullish() }))
    .nullish()
    .transform((runtimes) => runtimes ?? {}),
});
export type EngineInfo = z.infer<typeof EngineInfo>;

/** The launcher's container carries the profile itself; only a host's copy that differs is a problem. */
export function problemsOf(info: EngineInfo, installedProfile: string | null): string[] {
  return isolationProblems({
    runtimes: info.Runtimes,
    installedProfile: installedProfile ?? SHIPPED_SECCOMP_PROFILE,
  }).map((problem) => `${problem.message} Remedy: ${problem.remedy}`);
}

function engineInfo(socketPath: string): Promise<EngineInfo> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path: "/info", timeout: ANSWER_WITHIN_MS }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
        if (body.length > LONGEST_ANSWER) response.destroy(new Error("the answer is too long"));
      });
      response.on("error", reject);
      response.on("end", () => {
        const parsed = EngineInfo.safeParse(JSON.parse(body));
        if (parsed.success) resolve(parsed.data);
        else reject(new Error(`the engine answers /info with status ${response.statusCode}`));
      });
    });
    call.on("timeout", () => call.destroy(new Error(`no answer within ${ANSWER_WITHIN_MS / 1000} s`)));
    call.on("error", reject);
    call.end();
  });
}

/** Problems of the engine behind a unix socket; empty when it can serve. */
export async function localProblems(
  dockerHost: string,
  isolation: "runsc" | "runc-unsafe",
): Promise<string[]> {
  const socket = dockerHost.replace(/^unix:\/\//, "");
  try {
    const info = await engineInfo(socket);
    return isolation === "runc-unsafe" ? [] : problemsOf(info, installedProfile());
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [`No engine answers at ${socket} (${reason}). Remedy: start it, or ${INSTALL_COMMAND}`];
  }
}
