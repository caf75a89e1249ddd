/**
 * What hostile code would try, without harm where it succeeds: it looks and counts, sends nothing anywhere, takes little and
 * leaves nothing behind.
 */
import { z } from "@hono/zod-openapi";
import { Confinement, confinementFindings } from "../../server/doctor/findings.ts";
import { answerOf, PROBE, PROBED_LIBRARIES } from "../../server/doctor/probe.ts";
import { type Check, upload } from "./contract-checks.ts";
import type { Endpoint } from "./endpoint.ts";
import { broken, either, type Finding, holds, short, type Verdict, weaker } from "./report.ts";

const MIB = 1024 * 1024;
/** A larger sandbox is not filled: it may be the whole host. */
const LARGEST_FILLED = 2048 * MIB;

/** The last line of what the code printed, as JSON. */
async function told<T extends z.ZodType>(endpoint: Endpoint, code: string, schema: T): Promise<z.output<T>> {
  const reply = await endpoint.exec(code);
  await endpoint.forgetOutputs(reply);
  const line = reply.stdout.trim().split("\n").at(-1) ?? "";
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    throw new Error(`the probe ends without an answer: ${short(reply.stdout)} ${short(reply.stderr)}`);
  }
}

/** Kernel, system calls, privileges, network, root: what the doctor finds on its own host, by a call from outside. */
export async function confinement(endpoint: Endpoint): Promise<Finding[]> {
  const reply = await endpoint.exec(PROBE, { args: ["confinement", ...PROBED_LIBRARIES] });
  const answer = answerOf(reply.stdout, Confinement);
  if (answer === null)
    return [{ title: "confinement", ...broken(`the probe ends without an answer: ${short(reply.stderr)}`) }];
  return confinementFindings(answer, "runsc").map(({ state, title, detail, remedy }) => ({
    title,
    detail: remedy === undefined ? detail : `${detail}; on the host: ${remedy}`,
    state: state === "ok" ? "holds" : state === "weaker" ? "weaker" : "broken",
  }));
}

const HOST = `
import json, os, re
paths = ["/var/run/docker.sock", "/run/docker.sock", "/run/kernelyard", "/var/lib/kernelyard", "/etc/kernelyard", "/run/containerd"]
names = [n for n in os.environ if re.search(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|^AWS_|^DOCKER_", n)]
print(json.dumps({"paths": [p for p in paths if os.path.exists(p)], "names": names}))
`;
const hostIsAway: Check = {
  title: "nothing of the host",
  run: async (endpoint) => {
    const schema = z.object({ paths: z.array(z.string()), names: z.array(z.string()) });
    const { paths, names } = await told(endpoint, HOST, schema);
    return either(
      paths.length + names.length === 0,
      "no socket, no folder and no secret of the services in a sandbox",
      `a sandbox sees ${[...paths, ...names].join(", ")}`,
    );
  },
};

const PLACES = `["/tmp/verify-left", "/mnt/data/verify-left", "/dev/shm/verify-left", "/var/tmp/verify-left"]`;
const LEAVE = `
import json
left = []
for path in ${PLACES}:
    try:
        open(path, "w").write("left")
        left.append(path)
    except OSError:
        pass
print(json.dumps(left))
`;
const FIND = `
import json, os
print(json.dumps([path for path in ${PLACES} if os.path.exists(path)]))
`;
const nothingLeft: Check = {
  title: "nothing of earlier calls",
  run: async (endpoint) => {
    const paths = z.array(z.string());
    const left = await told(endpoint, LEAVE, paths);
    const found = await told(endpoint, FIND, paths);
    return either(
      found.length === 0,
      `a call without a session left ${left.length} files, the next one finds none`,
      `the next call finds ${found.join(", ")}`,
    );
  },
};

const BOUNDS = `
import json, resource
names = ["RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_CORE"]
limits = {n: resource.getrlimit(getattr(resource, n))[1] for n in names}
total = int(next(l.split()[1] for l in open("/proc/meminfo") if l.startswith("MemTotal"))) * 1024
print(json.dumps({"limits": limits, "memory": total}))
`;
const Bounds = z.object({
  limits: z.object({ RLIMIT_NPROC: z.number(), RLIMIT_NOFILE: z.number(), RLIMIT_CORE: z.number() }),
  memory: z.number(),
});
const processBounds: Check = {
  title: "process limits",
  run: async (endpoint) => {
    const { limits } = await told(endpoint, BOUNDS, Bounds);
    const said = `${limits.RLIMIT_NPROC} processes, ${limits.RLIMIT_NOFILE} open files, core files of ${limits.RLIMIT_CORE} bytes`;
    return either(
      limits.RLIMIT_NPROC > 0 && limits.RLIMIT_NOFILE > 0 && limits.RLIMIT_CORE === 0,
      said,
      `not bounded: ${said}`,
    );
  },
};

const memoryBound: Check = {
  title: "memory limit",
  run: async (endpoint) => {
    const { memory } = await told(endpoint, BOUNDS, Bounds);
    const size = `${Math.round(memory / MIB)} MiB`;
    if (memory > LARGEST_FILLED) return weaker(`not tried: a sandbox has ${size}`);
    const fill = `held = [bytearray(b"x" * ${MIB}) for _ in range(${Math.ceil(memory / MIB) + 128})]\nprint("survived")`;
    const reply = await endpoint.exec(fill);
    return either(
      !reply.stdout.includes("survived"),
      `code that takes more than the sandbox's ${size} is ended, and the call is answered`,
      `a sandbox of ${size} holds more than that`,
    );
  },
};

/** A call that breaks what it can reach is answered all the same, and the next one is served. */
const survives = (title: string, code: string, detail: string): Check => ({
  title,
  run: async (endpoint): Promise<Verdict> => {
    const reply = await endpoint.exec(code);
    const next = await endpoint.exec("print(6 * 7)");
    return next.stdout === "42\n"
      ? holds(`${detail}: a result${reply.status ? ` (${reply.status})` : ""}, and the next call is served`)
      : broken(`the next call gives ${short(next.stdout)} ${short(next.stderr)}`);
  },
});

const GARBAGE = `
import os
for fd in range(3, 256):
    try:
        os.write(fd, b"\\xff" * 4096)
    except OSError:
        pass
`;

const namesStayInside: Check = {
  title: "names stay inside",
  run: async (endpoint) => {
    const input = await upload(endpoint, "verify.txt", "inside");
    try {
      const reference = { id: input.id, storage_session_id: input.session };
      const out = ["../../tmp/verify-escaped", "/tmp/verify-escaped"];
      for (const name of out) {
        const answer = await endpoint.call("/v1/exec", {
          body: {
            lang: "py",
            code: "import os; print(os.path.exists('/tmp/verify-escaped'))",
            files: [{ ...reference, name }],
          },
        });
        if (answer.status === 200 && answer.text.includes("True"))
          return broken(`${name} is put outside the data folder`);
        if (answer.status >= 500) return broken(`${name} is answered with ${answer.status}`);
      }
      return holds("a reference cannot put a file outside the data folder");
    } finally {
      await endpoint.forget(input.session, input.id);
    }
  },
};

export const ATTACK_CHECKS: readonly Check[] = [
  hostIsAway,
  nothingLeft,
  processBounds,
  memoryBound,
  survives("a sandbox that ends itself", "import os; os.kill(-1, 9)", "every process of a sandbox killed"),
  survives("a sandbox that lies", GARBAGE, "garbage into every descriptor"),
  namesStayInside,
];
