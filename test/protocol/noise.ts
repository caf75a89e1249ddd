import type { Supervised } from "./supervised.ts";

/**
 * `noise` of the kernel's is a child that prints as fast as it can, for ever. It begins after its call: within it, it would
 * come to the call's limit before the call ends, on a machine that has no time.
 */
export async function startNoise(sandbox: Pick<Supervised, "run">): Promise<void> {
  const waits = "until [ -e go ]; do sleep 0.02; done; rm go; exec yes";
  await sandbox.run(`import subprocess\nnoise = subprocess.Popen(["sh", "-c", "${waits}"])`);
  await sandbox.run("touch go; while [ -e go ]; do sleep 0.02; done; sleep 0.1", { language: "bash" });
}
