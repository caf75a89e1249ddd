/** Requests that the console makes of the application itself, for the operator who is signed in there. */
import type { ServerResponse } from "node:http";
import { OPERATOR } from "../auth/operator.ts";
import type { Principal } from "../auth/principal.ts";

/** No key, token or setting can name it: its sessions and files are nobody else's. */
export const CONSOLE: Principal = { ...OPERATOR, subject: "console" };

/** What marks such a request; nothing that is sent can. */
const AS_OPERATOR = Symbol("the operator's, from the console");

/** `outgoing`: the console's own response, whose end is the request's. */
export const operatorBindings = (outgoing: ServerResponse | null): Record<string | symbol, unknown> => ({
  [AS_OPERATOR]: true,
  ...(outgoing === null ? {} : { outgoing }),
});

export function isOperators(env: unknown): boolean {
  return typeof env === "object" && env !== null && AS_OPERATOR in env;
}
