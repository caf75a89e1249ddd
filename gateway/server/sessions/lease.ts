/** A kernel on loan to one call: the pool and the registry lend, whoever runs code borrows, and neither knows the other. */
import type { SandboxEnd, SessionKey } from "../../common/protocol/launcher-api.ts";
import type { TenantCaller } from "../auth/principal.ts";
import type { KernelConnection } from "../kernel/connection.ts";

/** `fresh`: a sandbox of its own, destroyed afterwards. `session`: the live kernel of this key. */
export type Binding =
  | {
      readonly kind: "fresh";
      /** Null: the service itself. */
      readonly caller: TenantCaller | null;
    }
  | SessionBinding;

export interface SessionBinding {
  readonly kind: "session";
  readonly key: SessionKey;
  /** Null: the service itself. */
  readonly caller: TenantCaller | null;
  /** Never a reason to interrupt who runs: whoever asks only wants the session to be there. */
  readonly patient?: boolean;
}

/** `reused`: this session's kernel was there already. `new`: this call started it. Fresh sandboxes are always `new`. */
export type KernelStatus = "new" | "reused";

/** `kept`, `restarted` (variables gone, files kept) or `gone` (the sandbox with it; a session's files are kept). */
export type KernelAfter = "kept" | "restarted" | "gone";

/** `cells`: run by the kernel that there is now; they may have left variables. */
export interface KernelLeft {
  readonly after: KernelAfter;
  readonly cells: number;
}

/** What became of the sandbox whose stream ended. */
export type Fate =
  | { readonly kind: "ended"; readonly end: SandboxEnd }
  /** It lives; only the stream to it broke. */
  | { readonly kind: "alive" }
  | { readonly kind: "unknown" };

export interface Lease {
  readonly kernel: KernelConnection;
  readonly status: KernelStatus;
  /** Time that other calls of the session took first. */
  readonly waitedMs: number;
  /** The call was interrupted because another call of its session waits. */
  gaveWay(): boolean;
  /**
   * Why variables that an earlier call of this session made are not there any more; one sentence, told once. `variables` false: the
   * call has none to miss, and is told where files went as well.
   */
  lostBefore(variables: boolean): string | null;
  /** Why the kernel's stream ended by itself. Rejects with `LauncherUnavailable` when nobody can say. */
  fate(): Promise<Fate>;
  /**
   * The call is over: to be said once, whatever came of it, with what it left; null when no code ran or nobody knows.
   * A sandbox that is to go is removed from here on; its session's next call waits for that, the reply does not.
   */
  done(left: KernelLeft | null): void;
}

/** The service stops: nobody who waits for a session gets a turn. */
export class SessionClosed extends Error {
  override readonly name = "SessionClosed";
}

/** The session runs other calls, and its queue is full or the time for waiting is over. */
export class SessionBusy extends Error {
  override readonly name = "SessionBusy";
}
