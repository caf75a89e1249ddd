/** What kept a session from being put away or removed, as the errors that clients know. */
import { LauncherRefusal, LauncherUnavailable } from "../../common/protocol/launcher-client.ts";
import { SessionBusy, SessionClosed } from "../sessions/lease.ts";
import { ServiceError } from "./errors.ts";

/** What is none of these is returned as it is. */
export function launcherFailure(error: unknown): unknown {
  if (error instanceof SessionBusy) return new ServiceError("runtime_session_busy", error.message);
  if (error instanceof SessionClosed) return new ServiceError("shutting_down", error.message);
  if (error instanceof LauncherUnavailable) return new ServiceError("launcher_unavailable", error.message);
  if (!(error instanceof LauncherRefusal)) return error;
  return error.code === "engine_unavailable"
    ? new ServiceError("engine_unavailable", "The container engine does not answer; the session is as it was")
    : new ServiceError("sandbox_failed", "The session is as it was; the launcher's log says why");
}
