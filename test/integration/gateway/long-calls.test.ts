/** Calls that run longer than a proxy has patience, and calls that are heard while they run, on the real engine. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, connect as open, type Server } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Stack, startStack } from "../../support/stack.ts";

/** A twentieth of what proxies have: the test has no minutes. */
const PATIENCE_MS = 3_000;
const KEEP_ALIVE_MS = 500;
const CALL_S = 8;

let stack: Stack;
const proxies: Server[] = [];

/** Cuts every connection on which nothing was said for `PATIENCE_MS`, either way. */
function impatientProxy(port: number): Server {
  return createServer((inside) => {
    const outside = open(port, "127.0.0.1");
    const cut = () => {
      inside.destroy();
      outside.destroy();
    };
    for (const side of [inside, outside]) {
      side.setTimeout(PATIENCE_MS, cut);
      side.on("error", cut);
      side.on("close", cut);
      side.on("data", () => {
        inside.setTimeout(PATIENCE_MS);
        outside.setTimeout(PATIENCE_MS);
      });
    }
    inside.pipe(outside);
    outside.pipe(inside);
  });
}

beforeAll(async () => {
  stack = await startStack({
    env: { KERNELYARD_KEEP_ALIVE_MS: String(KEEP_ALIVE_MS), KERNELYARD_POOL_SIZE: "1" },
  });
});

afterAll(async () => {
  for (const proxy of proxies) proxy.close();
  await stack?.stop();
});

const send = (base: string, path: string, body: object) =>
  fetch(`${base}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": stack.apiKey },
    body: JSON.stringify(body),
  });

/** Each through a proxy of its own: a connection that `fetch` keeps is cut by the proxy while the next call may be on its way. */
async function post(path: string, body: object): Promise<Response> {
  const proxy = impatientProxy(Number(new URL(stack.baseUrl).port)).listen(0, "127.0.0.1");
  proxies.push(proxy);
  await once(proxy, "listening");
  const address = proxy.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return send(`http://127.0.0.1:${port}`, path, body);
}

/** A session whose kernel is there: until code runs nothing is sent, and this proxy does not wait for a new sandbox. */
async function warmSession(): Promise<{ runtime_session_hint: string }> {
  const session = { runtime_session_hint: `long-${randomUUID()}` };
  const response = await send(stack.baseUrl, "/v1/exec", { lang: "py", code: "1", ...session });
  expect(response.status).toBe(200);
  await response.text();
  return session;
}

it.each([
  ["that ends well", "print('done')", { stdout: "done\n", code: 0, status: null }],
  ["that fails", "raise SystemExit(3)", { code: 3, status: null }],
])(
  "a call %s ends with its true status, through a proxy that cuts silent connections",
  async (_how, end, told) => {
    const code = `import time\ntime.sleep(${CALL_S})\n${end}`;
    const response = await post("/v1/exec", { lang: "py", code, ...(await warmSession()) });
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).toMatch(/^ +\{/);
    expect(JSON.parse(text)).toMatchObject(told);
  },
);

it("a time limit is told as one", async () => {
  const response = await post("/v1/exec", {
    lang: "py",
    code: "while True: pass",
    timeout: CALL_S * 1000,
    ...(await warmSession()),
  });
  expect(JSON.parse(await response.text())).toMatchObject({ status: "TO", code: null });
});

it("a stream is heard while the code runs", async () => {
  const code = `print("first", flush=True)\nimport time\ntime.sleep(${CALL_S})\nprint("last")`;
  const response = await post("/v1/exec/stream", { lang: "py", code, ...(await warmSession()) });
  if (response.body === null) throw new Error("no stream");
  let heard = "";
  const pieces: string[] = [];
  for await (const chunk of response.body) {
    const piece = Buffer.from(chunk).toString();
    pieces.push(piece);
    heard += piece;
    // The code sleeps: what was printed before is here, and the rest is not.
    if (heard.includes("first")) break;
  }
  expect(heard).toContain('event: stdout\ndata: {"text":"first\\n"}');
  expect(heard).not.toContain("last");
  expect(heard).not.toContain("event: result");
});

it("a launcher that goes leaves no reply that looks like one", async () => {
  const session_id = `long-${process.pid}`;
  await (await send(stack.baseUrl, "/run", { session_id, code: "1" })).text();
  const response = await post("/run", { session_id, code: "import time\ntime.sleep(30)" });
  expect(response.status).toBe(200);
  const whole = response.text().then(
    () => "whole",
    () => "broken off",
  );
  await stack.launcher.signal("SIGKILL");
  expect(await whole).toBe("broken off");
  await stack.startLauncher();
});
