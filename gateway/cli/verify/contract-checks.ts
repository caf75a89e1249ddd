/** What LibreChat relies on: each check is one promise of the contract, tried. */
import { isIP } from "node:net";
import { z } from "@hono/zod-openapi";
import { type Endpoint, isRefusal, readReply } from "./endpoint.ts";
import { broken, either, holds, short, type Verdict, weaker } from "./report.ts";

export interface Check {
  readonly title: string;
  readonly run: (endpoint: Endpoint) => Promise<Verdict>;
}

const Uploaded = z.object({
  storage_session_id: z.string(),
  files: z.array(z.object({ id: z.string(), name: z.string() })).min(1),
});
const Ran = z.object({ stdout: z.string(), stderr: z.string(), exit_code: z.number() });

export async function upload(endpoint: Endpoint, name: string, content: string) {
  const form = new FormData();
  form.append("file", new Blob([content]), name);
  const answer = await endpoint.call("/v1/upload", { body: form });
  const { storage_session_id: session, files } = readReply(answer, Uploaded, "POST /v1/upload");
  const [file] = files;
  if (file === undefined) throw new Error("POST /v1/upload names no file");
  return { session, id: file.id, name: file.name };
}

/** Loopback, or what no router of the internet passes on. */
function isPrivate(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "");
  return isIP(bare) !== 0 && /^(127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|::1$|f[cd])/i.test(bare);
}

const transport: Check = {
  title: "transport",
  run: async ({ base }) => {
    const { protocol, hostname } = new URL(base);
    if (protocol === "https:") return holds("TLS, with a certificate that this machine trusts");
    if (/^(127\.|localhost$|\[::1\]$)/.test(hostname)) return holds("plain HTTP on this machine");
    return isPrivate(hostname)
      ? weaker("plain HTTP: keep it in a private network, or put a proxy with TLS before it")
      : broken("plain HTTP by a name that others may reach: tokens and code travel readable");
  },
};

const health: Check = {
  title: "health",
  run: async (endpoint) => {
    const answer = await endpoint.call("/health", { method: "GET", who: "nobody" });
    return either(
      answer.status === 200,
      "has just executed code",
      `GET /health answers ${answer.status}: ${short(answer.text)}`,
    );
  },
};

const Fleet = z.object({
  fleet: z
    .object({
      problem: z.string().nullable(),
      hosts: z.array(z.object({ state: z.string(), address: z.string() })),
    })
    .nullish(),
});

/** Hosts that share sessions, as the one that answers has them. */
const fleet: Check = {
  title: "fleet",
  run: async (endpoint) => {
    const answer = await endpoint.call("/health?detail", { method: "GET" });
    const { fleet: said } = readReply(answer, Fleet, "GET /health?detail");
    if (said === undefined) return weaker("GET /health?detail says nothing of it to these credentials");
    if (said === null) return holds("one host, which is alone");
    const { hosts, problem } = said;
    if (problem !== null)
      return broken(
        `${problem}: see KernelyardFleetAway in docs/runbooks.md; npm run doctor on the host says more`,
      );
    const leaving = hosts.filter(({ state }) => state !== "up").map(({ address }) => address);
    if (leaving.length > 0)
      return weaker(`${leaving.join(", ")} of ${hosts.length} hosts drains and takes no session`);
    return hosts.length > 1
      ? holds(`${hosts.length} hosts share their sessions: ${hosts.map(({ address }) => address).join(", ")}`)
      : weaker(
          "its directory knows no other host: is their gateway up, with the same KERNELYARD_FLEET_NAME?",
        );
  },
};

const strangers: Check = {
  title: "no code for strangers",
  run: async (endpoint) => {
    const tried = [["no credentials", {}] as const, ...(await endpoint.forged())];
    const let_in: string[] = [];
    for (const [what, headers] of tried) {
      const answer = await endpoint.call("/v1/exec", { headers, body: { lang: "py", code: "print(1)" } });
      if (!isRefusal(answer, [401])) let_in.push(`${what}: ${answer.status}`);
    }
    return either(
      let_in.length === 0,
      `401 for ${tried.map(([what]) => what).join(", ")}`,
      `not refused with 401: ${let_in.join(", ")}`,
    );
  },
};

const freshCall: Check = {
  title: "code runs",
  run: async (endpoint) => {
    const reply = await endpoint.exec("print(6 * 7)");
    return either(
      reply.stdout === "42\n" && reply.stderr === "",
      "print(6 * 7) prints 42",
      `print(6 * 7) gives ${short(reply.stdout)} ${short(reply.stderr)}`,
    );
  },
};

const exceptions: Check = {
  title: "errors of code are results",
  run: async (endpoint) => {
    const reply = await endpoint.exec("1 / 0");
    return either(
      reply.stderr.includes("ZeroDivisionError"),
      "1 / 0 is answered with 200 and its traceback",
      `1 / 0 leaves no traceback: ${short(reply.stderr)}`,
    );
  },
};

const badRequests: Check = {
  title: "wrong requests are refused",
  run: async (endpoint) => {
    const answer = await endpoint.call("/v1/exec", { body: { lang: "py" } });
    return either(
      isRefusal(answer, [400]),
      "400 with an error and words for people",
      `a request without code is answered with ${answer.status}: ${short(answer.text)}`,
    );
  },
};

const timeLimit: Check = {
  title: "time limit",
  run: async (endpoint) => {
    const reply = await endpoint.exec("while True: pass", { timeout: 1500 });
    return either(
      reply.status === "TO",
      "an endless loop is ended, and said to be",
      `an endless loop with 1.5 s ends with status ${reply.status}`,
    );
  },
};

const outputLimit: Check = {
  title: "output limit",
  run: async (endpoint) => {
    const reply = await endpoint.exec("print('x' * 30_000_000)");
    return either(
      reply.stdout.length < 8_000_000,
      `30 MB printed, ${reply.stdout.length} bytes answered`,
      `all ${reply.stdout.length} bytes come back`,
    );
  },
};

const sessions: Check = {
  title: "sessions keep their state",
  run: async (endpoint) => {
    const session = { runtime_session_hint: `v2:conversation:${endpoint.run}` };
    const first = await endpoint.exec("x = 41", session);
    const second = await endpoint.exec("print(x + 1)", session);
    if (second.stdout === "42\n") return holds("a variable is there in the next call");
    const where = first.runtime_status === "new" && second.runtime_status === "new";
    return broken(
      where
        ? "the second call got a new kernel: several hosts, and calls are not routed to their session's"
        : `x + 1 gives ${short(second.stdout)} ${short(second.stderr)}`,
    );
  },
};

const otherUsers: Check = {
  title: "sessions are of one user",
  run: async (endpoint) => {
    if (!endpoint.hasUsers) return weaker("not tried: without LibreChat's private key there is one user");
    const hint = `v2:conversation:${endpoint.run}`;
    const claimed = { runtime_session_hint: hint, user_id: `${endpoint.run}-user` };
    const stranger = { ...(await endpoint.headers("other")), "user-id": `${endpoint.run}-user` };
    const answer = await endpoint.call("/v1/exec", {
      headers: stranger,
      body: { lang: "py", code: "print(x)", ...claimed },
    });
    return either(
      answer.status === 200 && answer.text.includes("NameError"),
      "another user with the same hint, who claims to be the first, finds nothing",
      `another user reaches the first one's session: ${short(answer.text)}`,
    );
  },
};

const languages: Check = {
  title: "bash",
  run: async (endpoint) => {
    const reply = await endpoint.exec("python3 - <<'PY'\nprint(6 * 9)\nPY", { lang: "bash" });
    return either(
      reply.stdout === "54\n",
      "runs Python in a heredoc, as LibreChat's tool does",
      `says ${short(reply.stdout)} ${short(reply.stderr)}`,
    );
  },
};

const libraries: Check = {
  title: "libraries and figures",
  run: async (endpoint) => {
    const code = [
      "import numpy, pandas, scipy, matplotlib.pyplot as plt",
      "plt.plot(pandas.Series(numpy.arange(9)))",
      "print('ok')",
    ].join("\n");
    const reply = await endpoint.exec(code);
    await endpoint.forgetOutputs(reply);
    return either(
      reply.stdout === "ok\n" && reply.files.some(({ name }) => name.endsWith(".png")),
      "numpy, pandas, scipy, matplotlib; an open figure comes back as a file",
      `${short(reply.stderr) || "no figure came back"}`,
    );
  },
};

const files: Check = {
  title: "files in and out",
  run: async (endpoint) => {
    const input = await upload(endpoint, "verify.csv", "a,b\n1,2\n");
    const code = "open('out.txt', 'w').write(open('verify.csv').read().upper())";
    const reply = await endpoint.exec(code, {
      files: [{ id: input.id, name: input.name, storage_session_id: input.session }],
    });
    const out = reply.files.find(({ name }) => name === "out.txt");
    const session = out?.storage_session_id ?? out?.session_id ?? reply.session_id;
    const path = `/v1/download/${session}/${out?.id ?? ""}`;
    try {
      const got = await endpoint.call(path, { method: "GET" });
      if (got.text !== "A,B\n1,2\n") return broken(`${path} answers ${got.status}: ${short(got.text)}`);
      // Whatever stands before the gateway must not keep an answer for the next who asks.
      const seen = endpoint.hasUsers
        ? [["another user", await endpoint.call(path, { method: "GET", who: "other" })] as const]
        : [];
      const all = [
        ...seen,
        ["a stranger", await endpoint.call(path, { method: "GET", who: "nobody" })] as const,
      ];
      const leaks = all.filter(([, answer]) => answer.status < 400);
      if (leaks.length > 0)
        return broken(`a user's file is given to ${leaks.map(([who]) => who).join(" and ")}`);
      await endpoint.forgetOutputs(reply);
      const gone = await endpoint.call(path, { method: "GET" });
      if (gone.status !== 404) return broken(`a deleted file is answered with ${gone.status}`);
      return endpoint.hasUsers
        ? holds("uploaded, read, written, downloaded by their user alone, deleted")
        : weaker("uploaded, read, written, downloaded, deleted; other users not tried, there is one");
    } finally {
      await endpoint.forget(input.session, input.id);
    }
  },
};

const namedSessions: Check = {
  title: "POST /run",
  run: async (endpoint) => {
    const body = { session_id: endpoint.run, code: "print(6 * 7)" };
    const reply = readReply(await endpoint.call("/run", { body }), Ran, "POST /run");
    return either(
      reply.stdout === "42\n" && reply.exit_code === 0,
      "a named session runs code",
      `exit code ${reply.exit_code}: ${short(reply.stderr)}`,
    );
  },
};

/** In this order: a session's second check builds on the first. */
export const CONTRACT_CHECKS: readonly Check[] = [
  transport,
  health,
  fleet,
  strangers,
  freshCall,
  exceptions,
  badRequests,
  timeLimit,
  outputLimit,
  sessions,
  otherUsers,
  languages,
  libraries,
  files,
  namedSessions,
];
