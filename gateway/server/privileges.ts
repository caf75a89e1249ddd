/** Root is needed to read the program, not to serve: it is given up before the first connection. */

export class PrivilegesError extends Error {
  override readonly name = "PrivilegesError";
}

/** Throws unless getting root back fails. */
function verifyDropped(user: string): void {
  const uids = [process.getuid?.(), process.geteuid?.()];
  const groups = [process.getgid?.(), process.getegid?.(), ...(process.getgroups?.() ?? [])];
  let regained = true;
  try {
    process.setuid?.(0);
  } catch {
    regained = false;
  }
  if (regained || uids.includes(0) || groups.includes(0)) {
    throw new PrivilegesError(`Could not give up root for user ${user}; refusing to serve.`);
  }
}

/** `user` is null when none was asked for; then the process must not be root in the first place. */
export function dropPrivileges(user: string | null): void {
  const root = process.getuid?.() === 0;
  if (user === null) {
    if (root) throw new PrivilegesError("The gateway does not serve as root: start it with --user NAME.");
    return;
  }
  if (!root) return;
  if (!process.setgroups || !process.setgid || !process.setuid) {
    throw new PrivilegesError("This system has no users to change to; the gateway runs on Linux.");
  }
  try {
    // The user's own group and no other: it is the one that may open the launcher's socket.
    process.setgroups([user]);
    process.setgid(user);
    process.setuid(user);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new PrivilegesError(`Cannot become user ${user} (${why}). Create it with gateway/host/install.sh.`);
  }
  verifyDropped(user);
}
