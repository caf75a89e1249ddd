/** `npm run verify` as an operator runs it, and a fault to plant before an endpoint. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { ROOT } from "./stack.ts";

const Package = z.object({ scripts: z.object({ verify: z.string() }) });

export interface Verified {
  readonly code: number | null;
  /** By check: its state and what was said. */
  readonly findings: ReadonlyMap<string, string>;
  readonly text: string;
}

export async function verify(url: string, librechatEnvironment: string): Promise<Verified> {
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-verify-"));
  try {
    const file = join(folder, "librechat.env");
    writeFileSync(file, librechatEnvironment);
    const { scripts } = Package.parse(JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")));
    // Without npm, which would look after the packages first.
    const child = spawn("sh", ["-c", `${scripts.verify} "$@"`, "sh", url, "--environment", file], {
      cwd: ROOT,
      env: { ...process.env, PATH: `${join(ROOT, "node_modules/.bin")}:${process.env.PATH}` },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    const [code] = z
      .tuple([z.number().nullable()])
      .rest(z.unknown())
      .parse(await once(child, "close"));
    const lines = text.split("\n").map((line) => /^(holds|weaker|broken) +(.+?) {2,}(.*)$/.exec(line));
    const findings = lines.flatMap((found) =>
      found ? [[found[2] ?? "", `${found[1]}: ${found[3]}`] as const] : [],
    );
    return { code, findings: new Map(findings), text };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A proxy that keeps what it once fetched, and gives it to whoever asks next. */
export async function cachingProxy(origin: string): Promise<{ origin: string; end(): void }> {
  const kept = new Map<string, { status: number; type: string; body: Buffer }>();
  const server = createServer(async (request, response) => {
    const { method = "GET", url = "/" } = request;
    const hit = method === "GET" ? kept.get(url) : undefined;
    if (hit !== undefined) {
      response.writeHead(hit.status, { "content-type": hit.type }).end(hit.body);
      return;
    }
    const headers = Object.fromEntries(
      Object.entries(request.headers).flatMap(([name, value]) =>
        typeof value === "string" && !/^(host|connection|content-length|transfer-encoding)$/.test(name)
          ? [[name, value]]
          : [],
      ),
    );
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(Buffer.from(part));
    const sent = Buffer.concat(parts);
    const answer = await fetch(`${origin}${url}`, {
      method,
      headers,
      ...(sent.length > 0 ? { body: sent } : {}),
    });
    const body = Buffer.from(await answer.arrayBuffer());
    const type = answer.headers.get("content-type") ?? "application/octet-stream";
    if (method === "GET" && answer.status === 200) kept.set(url, { status: 200, type, body });
    response.writeHead(answer.status, { "content-type": type }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = z.object({ port: z.number() }).parse(server.address());
  return {
    origin: `http://127.0.0.1:${port}`,
    end: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
