/** Calls that run longer than a proxy has patience, and calls that are heard while they run, on the real engine. */
import { once } from "node:events";
import { createServer, connect as open, type Server } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Stack, startStack } from "../../support/stack.ts";

/** A tenth of what proxies have: the test has no minutes. */
const PATIENCE_MS = 2_000;
const KEEP_ALIVE_MS = 500;
const CALL_S = 6;

let stack: Stack;
let proxy: Server;
let throughProxy: string;

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
  proxy = impatientProxy(Number(new URL(stack.baseUrl).port)).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const address = proxy.address();
  throughProxy = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
});

afterAll(async () => {
  proxy?.close();
  await stack?.stop();
});

const post = (path: string, body: object, headers: Record<string, string> = {}) =>
  fetch(`${throughProxy}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": stack.apiKey, ...headers },
    body: JSON.stringify(body),
  });

it.each([
  ["that ends well", "print('done')", { stdout: "done\n", code: 0, status: null }],
  ["that fails", "raise SystemExit(3)", { code: 3, status: null }],
])(
  "a call %s ends with its true status, through a proxy that cuts silent connections",
  async (_how, end, told) => {
    const code = `import time\ntime.sleep(${CALL_S})\n${end}`;
    const response = await post("/v1/exec", { lang: "py", code });
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).toMatch(/^ +\{/);
    expect(JSON.parse(text)).toMatchObject(told);
  },
);

it("a time limit is told as one", async () => {
  const response = await post("/v1/exec", { lang: "py", code: "while True: pass", timeout: 3_000 });
  expect(JSON.parse(await response.text())).toMatchObject({ status: "TO", code: null });
});

it("a stream is heard while the code runs", async () => {
  const code = `print("first", flush=True)\nimport time\ntime.sleep(${CALL_S})\nprint("last")`;
  const response = await post("/v1/exec/stream", { lang: "py", code });
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
  const session = `long-${process.pid}`;
  const response = await post("/run", { session_id: session, code: "import time\ntime.sleep(30)" });
  expect(response.status).toBe(200);
  const whole = response.text().then(
    () => "whole",
    () => "broken off",
  );
  await stack.launcher.signal("SIGKILL");
  expect(await whole).toBe("broken off");
  await stack.startLauncher();
});
