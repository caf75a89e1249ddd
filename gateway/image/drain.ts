/**
 * Beside a gateway in its container, as `docker exec NAME node gateway/image/drain.ts`: asks it to put its sessions away for other hosts, and
 * waits until it has. Exits 0 when it has, or has no other host to give them to, and 1 when some are left.
 */
import { setTimeout as delay } from "node:timers/promises";
import { readSettings } from "../common/settings/read.ts";

/** The gateway is the first process of its container, or what passes signals on to it is. */
const GATEWAY = 1;
/** From the signal on, for the first answer that says so. */
const BEGINS_WITHIN_MS = 10_000;
const ASK_EVERY_MS = 250;

const { host, port } = readSettings(process.env);
const health = async () => {
  const at = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
  const answer = await fetch(`http://${at.includes(":") ? `[${at}]` : at}:${port}/health`).catch(() => null);
  return answer === null ? "" : answer.text();
};

async function drained(): Promise<boolean> {
  process.kill(GATEWAY, "SIGUSR2");
  const beginsUntil = performance.now() + BEGINS_WITHIN_MS;
  for (let begun = false; ; await delay(ASK_EVERY_MS)) {
    const said = await health();
    if (said === "Drained") return true;
    if (said === "Draining") begun = true;
    else if (begun) return false;
    else if (performance.now() > beginsUntil) {
      return true;
    }
  }
}

if (await drained()) {
  console.log("Drained: no session waits here for a host of its fleet.");
} else {
  console.error(
    "Sessions are left here, with their files; the gateway's log says why. Run this again to try again.",
  );
  process.exitCode = 1;
}
