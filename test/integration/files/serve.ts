/** The file routes as a process of their own: tells its port, and where its inspector answers. */
import { url } from "node:inspector";
import { createAdaptorServer } from "@hono/node-server";
import { DiskFileStore } from "../../../gateway/server/files/disk/store.ts";
import { filesApp } from "../../support/files/app.ts";

const directory = process.argv[2];
if (directory === undefined) throw new Error("usage: serve.ts DIRECTORY");
const store = await DiskFileStore.open({ directory, ttlMs: 86_400_000, sweepEveryMs: 600_000 });
const { app } = filesApp(store);
const server = createAdaptorServer({ fetch: app.fetch });

server.listen(0, "127.0.0.1", () => process.send?.({ address: server.address(), inspector: url() }));
