/** The file routes as a process of their own: prints its port, answers `memory` with its peak since the last question. */
import { createAdaptorServer } from "@hono/node-server";
import { DiskFileStore } from "../../../gateway/server/files/disk/store.ts";
import { filesApp } from "../../support/files/app.ts";

const directory = process.argv[2];
if (directory === undefined) throw new Error("usage: serve.ts DIRECTORY");
const store = await DiskFileStore.open({ directory, ttlMs: 86_400_000, sweepEveryMs: 600_000 });
const { app } = filesApp(store);
const server = createAdaptorServer({ fetch: app.fetch });

let peak = process.memoryUsage.rss();
setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, 10).unref();

server.listen(0, "127.0.0.1", () => process.send?.({ address: server.address() }));
process.on("message", () => {
  process.send?.({ peak });
  peak = process.memoryUsage.rss();
});
