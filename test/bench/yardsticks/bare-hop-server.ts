/** One of the two servers of `BareHop`, a process each as gateways are. Says its port to its parent and ends with it. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { Pool } from "undici";
import { makeCertificate } from "../../../gateway/server/fleet/hop/certificate.ts";

const HOST = "127.0.0.1";
/** As a call that printed a line is answered. */
const ANSWER = JSON.stringify({
  stdout: "2\n",
  stderr: "",
  exit_code: 0,
  execution_count: 1,
  files: [],
  session_id: "bench-hop",
  duration_ms: 1,
});

async function listen(server: Server): Promise<number> {
  server.listen(0, HOST);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  request.resume().once("end", () => {
    response.writeHead(200, { "content-type": "application/json" }).end(ANSWER);
  });
}

async function answerBoth(): Promise<number> {
  const { certPem, keyPem } = makeCertificate();
  const tls = await listen(createTlsServer({ cert: certPem, key: keyPem, minVersion: "TLSv1.3" }, answer));
  return listen(
    createServer((request, response) => {
      if (request.url === "/tls") response.end(String(tls));
      else answer(request, response);
    }),
  );
}

async function passOn(port: number): Promise<number> {
  const tls = await (await fetch(`http://${HOST}:${port}/tls`)).text();
  const pool = new Pool(`https://${HOST}:${tls}`, {
    connect: { rejectUnauthorized: false, minVersion: "TLSv1.3" },
  });
  return listen(
    createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const { statusCode, headers, body } = await pool.request({
        method: "POST",
        path: request.url ?? "/",
        headers: { "content-type": "application/json", "x-api-key": String(request.headers["x-api-key"]) },
        body: Buffer.concat(chunks),
      });
      response.writeHead(statusCode, { "content-type": String(headers["content-type"]) });
      body.pipe(response);
    }),
  );
}

const [other] = process.argv.slice(2);
process.once("disconnect", () => process.exit(0));
process.send?.(other === undefined ? await answerBoth() : await passOn(Number(other)));
