import type { LauncherError } from "../protocol/launcher-api.ts";

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
