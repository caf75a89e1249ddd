/** The server of `BareHop`, a process of its own as a gateway is. Says its port to its parent and ends with it. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Pool } from "undici";

const [origin = ""] = process.argv.slice(2);
const pool = new Pool(origin);

const server = createServer(async (request, response) => {
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
});

process.once("disconnect", () => process.exit(0));
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.send?.((server.address() as AddressInfo).port);
