/** Prints what the hosts of a new fleet share, as one line of JSON. Run by the deployment; its output is a secret. */
import { randomBytes } from "node:crypto";
import type { GeneratedFleetKeys } from "./fleet-keys.ts";

// Hexadecimal: AWS takes few other characters.
const keys: GeneratedFleetKeys = {
  directoryPassword: randomBytes(32).toString("hex"),
  hopKey: randomBytes(32).toString("hex"),
};
process.stdout.write(`${JSON.stringify(keys)}\n`);
