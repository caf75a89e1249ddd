/** When a service is ready: asked for, not slept for. */
import { request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { LauncherHealth } from "./launcher-api.ts";

const ASK_EVERY_MS = 50;
const ANSWER_WITHIN_MS = 5_000;
const LONGEST_ANSWER_BYTES = 1024 * 1024;

/** Asks until `probe` gives a value. Rejects after `withinMs`, saying what was waited for. */
export async function waitFor<T>(what: string, withinMs: number, probe: () => Promise<T | null>): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value !== null) return value;
    if (Date.now() > deadline)
      throw new Error(`Waited ${Math.round(withinMs / 1000)} s for ${what} in vain.`);
    await delay(ASK_EVERY_MS);
  }
}

type Target = { readonly socketPath: string } | { readonly host: string; readonly port: number };

function get(target: Target, path: string): Promise<{ status: number; body: string } | null> {
  return new Promise((resolve) => {
    const call = request({ ...target, path, timeout: ANSWER_WITHIN_MS }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
        if (body.length > LONGEST_ANSWER_BYTES) response.destroy();
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.on("error", () => resolve(null));
    });
    call.on("timeout", () => call.destroy());
    call.on("error", () => resolve(null));
    call.end();
  });
}

/** Whether there is a launcher, in whatever state. */
export async function launcherAnswers(socketPath: string): Promise<boolean> {
  return (await get({ socketPath }, "/health")) !== null;
}

/** The launcher's health once it answers, its engine is there, and isolation is proven: then it names its runtime. */
export async function launcherHealth(socketPath: string): Promise<LauncherHealth | null> {
  const answer = await get({ socketPath }, "/health");
  if (answer === null || answer.status !== 200) return null;
  const health = LauncherHealth.parse(JSON.parse(answer.body));
  return health.engine.state === "ok" && health.runtime_version !== "" ? health : null;
}

/** True once the gateway has executed code in a real sandbox. */
export async function gatewayHealthy(host: string, port: number): Promise<true | null> {
  const answer = await get({ host: host === "0.0.0.0" ? "127.0.0.1" : host, port }, "/health");
  return answer?.status === 200 ? true : null;
}
