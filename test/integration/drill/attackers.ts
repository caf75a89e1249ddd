/**
 * Callers who send bodies made to cost more than they are worth, a process of their own: they are on other machines, and what making
 * such a body takes is not the service's. Prints how often each status was answered; 0 is a connection that went.
 */
import { z } from "@hono/zod-openapi";
import { seeded } from "../../support/drill.ts";

const { url, key, bodies, atOnce } = z
  .object({ url: z.string(), key: z.string(), bodies: z.number(), atOnce: z.number() })
  .parse(JSON.parse(process.argv[2] ?? ""));

const ROUTES = [
  ["POST", "/run"],
  ["POST", "/exec"],
  ["POST", "/exec/programmatic"],
  ["POST", "/exec/programmatic/cancel"],
  ["POST", "/upload"],
  ["POST", "/upload/batch"],
] as const;

/** From a kilobyte to beyond every limit, each size as likely as its double. */
const sizeOf = (random: () => number) => Math.floor(1024 * 2 ** (random() * 15));

/** What is repeated, and what stands around it. None is a call that runs: that one would cost a sandbox, not a body. */
const SHAPES: readonly (readonly [string, (bytes: number) => string])[] = [
  ["elements", (n) => `{"lang":"nothing","code":"1","args":[${"1,".repeat(n / 2)}1]}`],
  ["objects", (n) => `{"lang":"nothing","code":"1","files":[${"{},".repeat(n / 3)}{}]}`],
  ["depth", (n) => `{"lang":"nothing","code":"1","x":${"[".repeat(n / 2)}${"]".repeat(n / 2)}}`],
  ["depth that never ends", (n) => `{"x":${'{"a":'.repeat(n / 5)}`],
  [
    "keys",
    (n) =>
      `{"lang":"nothing",${Array.from({ length: n / 12 }, (_, i) => `"k${i}":${i}`).join(",")},"code":"1"}`,
  ],
  ["one key again and again", (n) => `{${'"code":"1",'.repeat(n / 11)}"lang":"nothing"}`],
  ["a long number", (n) => `{"lang":"nothing","code":"1","timeout":${"9".repeat(n)}}`],
  ["a long string", (n) => `{"lang":"nothing","code":"${"é".repeat(n / 2)}"}`],
  ["escapes", (n) => `{"lang":"nothing","code":"${"\\u0000".repeat(n / 6)}"}`],
  ["broken", (n) => `{"lang":"nothing","code":"${"x".repeat(n)}`],
  ["tool results", (n) => `{"continuation_token":"t","tool_results":[${"0,".repeat(n / 2)}0]}`],
  [
    "form of many fields",
    (n) => `--b\r\n${'Content-Disposition: form-data; name="kind"\r\n\r\nx\r\n--b\r\n'.repeat(n / 55)}`,
  ],
];

const random = seeded(7);
let left = bodies;
const statuses: Record<number, number> = {};

async function attack(): Promise<void> {
  while (left-- > 0) {
    const [method, path] = ROUTES[Math.floor(random() * ROUTES.length)] ?? ROUTES[0];
    const [, make] = SHAPES[Math.floor(random() * SHAPES.length)] ?? ["", () => ""];
    const type = path.startsWith("/upload") ? "multipart/form-data; boundary=b" : "application/json";
    const headers = { "x-api-key": key, "content-type": type };
    const body = Buffer.from(make(sizeOf(random)));
    // Refused before it was sent to its end: the connection may go under the sender.
    const status = await fetch(`${url}${path}`, { method, headers, body }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.status;
      },
      () => 0,
    );
    statuses[status] = (statuses[status] ?? 0) + 1;
  }
}

await Promise.all(Array.from({ length: atOnce }, attack));
process.stdout.write(JSON.stringify(statuses));
