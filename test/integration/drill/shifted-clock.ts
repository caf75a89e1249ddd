/** Loaded before a service (`NODE_OPTIONS=--import=…`): its time of day is off by the milliseconds in the file that DRILL_CLOCK names. */
import { readFileSync } from "node:fs";

const file = process.env.DRILL_CLOCK ?? "";
const READ_EVERY_MS = 50;
const right = Date.now;
let offset = 0;
let readAt = Number.NEGATIVE_INFINITY;

Date.now = () => {
  if (performance.now() - readAt > READ_EVERY_MS) {
    readAt = performance.now();
    offset = Number(readFileSync(file, "utf8"));
  }
  return right() + offset;
};
globalThis.Date = new Proxy(Date, {
  construct: (date, given: []) => (given.length === 0 ? new date(Date.now()) : new date(...given)),
});
