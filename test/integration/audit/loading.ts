/** Copies an audit log and erases from it, as the environment asks for, and prints which packages' code that loaded, and when. */
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import pino from "pino";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { loadAuditCopy } from "../../../gateway/server/audit/copy/load.ts";
import { AuditLog } from "../../../gateway/server/audit/log.ts";
import { entry } from "../../support/audit-entries.ts";

const loaded = () => Object.keys(createRequire(import.meta.url).cache);

const directory = process.argv[2];
if (directory === undefined) throw new Error("usage: loading.ts DIRECTORY");
const openCopy = await loadAuditCopy(readSettings(process.env));
// From here on the gateway may no longer be able to read its own code.
const early = new Set(loaded());
const copy = openCopy?.(directory, pino({ level: "silent" })) ?? null;
const log = new AuditLog({ directory, keepDays: 9, maxBytes: 1e9, now: Date.now, onProblem: () => {}, copy });
for (const subject of ["alice", "bob"]) log.write(entry(subject));
process.send?.("loaded");
// Once the bucket is there.
while (copy !== null && !(await copy.copy())) await delay(50);
const erased = await log.erase({ tenant: "jwt-t", user: "alice" }, "remove");
await log.close();
process.stdout.write(
  JSON.stringify({
    client: loaded().some((path) => path.includes("/@aws-sdk/")),
    loadedLate: loaded().filter((path) => !early.has(path)),
    erased,
  }),
);
process.disconnect();
