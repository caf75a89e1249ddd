/** The seccomp profile, in force inside gVisor: what it refuses, what works without it, and what must go on working. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { beforeAll, describe, expect, test } from "vitest";
import { RUNTIME_NAME } from "../../../gateway/host/isolation.ts";
import { ATTACK } from "../../support/refused-calls.ts";

const PROFILE = join(import.meta.dirname, "../../../gateway/host/seccomp/profile.json");
const IMAGE = process.env.KERNELYARD_IMAGE ?? "custom-rce-kernel:latest";

const WORK = `
import concurrent.futures, json, multiprocessing, socket, subprocess, threading
import numpy, pandas
if __name__ == "__main__":
    thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
    with concurrent.futures.ThreadPoolExecutor(4) as pool: threads = list(pool.map(abs, [-1, -2]))
    with multiprocessing.Pool(2) as pool: processes = pool.map(abs, [-1, -2])
    left, right = socket.socketpair(); left.send(b"x")
    print(json.dumps({
        "threads": threads, "processes": processes, "pair": right.recv(1).decode(),
        "shell": subprocess.run(["sh", "-c", "echo shell"], capture_output=True, text=True).stdout.strip(),
        "product": float((numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum()),
        "frame": int(pandas.DataFrame({"a": [1, 2]}).a.sum()),
    }))
`;

function run(code: string, seccomp: string): Promise<unknown> {
  const args = [
    ...["run", "--rm", "--runtime", RUNTIME_NAME, "--network=none", "--read-only", "--tmpfs=/tmp:size=64m"],
    ...[
      "--user=10001:10001",
      "--cap-drop=ALL",
      "--security-opt=no-new-privileges",
      `--security-opt=seccomp=${seccomp}`,
    ],
    ...[
      "--memory=512m",
      "--pids-limit=1024",
      "--entrypoint=/opt/python/bin/python3",
      IMAGE,
      "-I",
      "-c",
      code,
    ],
  ];
  return new Promise((resolve, reject) => {
    const child = spawn("docker", args, { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk.toString();
    });
    child.on("error", reject);
    child.on("close", (status) => {
      if (status === 0) resolve(JSON.parse(out));
      else reject(new Error(`the container ended with ${status}: ${errors.slice(-2000)}`));
    });
  });
}

const Results = z.record(z.string(), z.string());

describe("seccomp inside gVisor", () => {
  let confined: z.infer<typeof Results> = {};
  let open: z.infer<typeof Results> = {};
  beforeAll(async () => {
    confined = Results.parse(await run(ATTACK, PROFILE));
    open = Results.parse(await run(ATTACK, "unconfined"));
  });

  test("every attack is refused", () => {
    expect(new Set(Object.values(confined))).toEqual(new Set(["EPERM"]));
    expect(Object.keys(confined)).toHaveLength(14);
  });

  test("with the control off, the same calls reach gVisor's kernel", () => {
    expect(open).toMatchObject({ unshare: "ok", ptrace: "ok", io_setup: "EFAULT", setns: "EBADF" });
    // Answers of the calls themselves: not there, or refused for another reason than the filter's.
    for (const name of ["keyctl", "userfaultfd", "perf_event_open", "io_uring_setup", "name_to_handle_at"]) {
      expect(open[name], name).not.toBe("EPERM");
    }
  });

  test("what data analysis needs works", async () => {
    expect(await run(WORK, PROFILE)).toEqual({
      threads: [1, 2],
      processes: [1, 2],
      pair: "x",
      shell: "shell",
      product: 27_000_000,
      frame: 3,
    });
  });
});
