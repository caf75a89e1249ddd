/** A header of the response, whatever its body will be. */
import type { Context } from "hono";
import { outgoingOf } from "./in-flight.ts";

/** Served by Node it is set there: a `Headers` for it, and its way back into Node's, cost more than the rest of the response. */
export function responseHeader(c: Context, name: string, value: string): void {
  const outgoing = outgoingOf(c);
  if (outgoing === null) c.header(name, value);
  else outgoing.setHeader(name, value);
}
