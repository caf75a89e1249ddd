import type { LauncherError } from "../common/protocol/launcher-api.ts";
import { EngineAwayError } from "./engine/engine.ts";

/** A request that is answered with a `LauncherError`. */
export class LauncherFailure extends Error {
  override readonly name = "LauncherFailure";
  readonly code: LauncherError["error"];
  readonly sandboxId: string | undefined;

  constructor(code: LauncherError["error"], message: string, sandboxId?: string) {
    super(message);
    this.code = code;
    this.sandboxId = sandboxId;
  }
}

/** This host does not isolate as promised; the message says what to do. */
export class IsolationError extends Error {
  override readonly name = "IsolationError";
}

/** What a caller is told about a sandbox that could not be made or removed. */
export function failureOf(error: unknown): LauncherFailure {
  if (error instanceof LauncherFailure) return error;
  if (error instanceof EngineAwayError) return new LauncherFailure("engine_unavailable", error.message);
  if (error instanceof IsolationError) return new LauncherFailure("isolation_refused", error.message);
  return new LauncherFailure("sandbox_failed", messageOf(error));
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
