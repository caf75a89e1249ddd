/** The gateway of a test behind a real server, as `main.ts` sets it up. */
import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, type RequestOptions, request, Server } from "node:http";
import { text } from "node:stream/consumers";
import { createAdaptorServer } from "@hono/node-server";
import { guardConnections } from "../../../gateway/server/http/intake/connections.ts";
import { KEY, type startGateway } from "./gateway-under-test.ts";

export interface Listening {
  readonly url: string;
  /** Not ended: the test decides how the body comes. */
  begin(method: string, path: string, options?: RequestOptions): ClientRequest;
  close(): Promise<void>;
}

export async function listen(gateway: ReturnType<typeof startGateway>): Promise<Listening> {
  const server = createAdaptorServer({ fetch: gateway.app.fetch });
  if (!(server instanceof Server)) throw new Error("no server of HTTP/1.1");
  guardConnections(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    begin(method, path, options = {}) {
      const headers = { "x-api-key": KEY, "content-type": "application/json", ...options.headers };
      const call = request({ host: "127.0.0.1", port, path, method, ...options, headers });
      call.on("error", () => {});
      return call;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export async function answerTo(call: ClientRequest): Promise<IncomingMessage> {
  const [response] = await once(call, "response");
  return response;
}

export async function reply(call: ClientRequest) {
  const response = await answerTo(call);
  const body = await text(response);
  return { status: response.statusCode, headers: response.headers, body };
}
