/** How a finished call is told: LibreChat's `status`, `code`, `signal`, `message`, and shell-like exit codes for `/run`. */
import { whatIsLost } from "../sessions/losses.ts";
import type { Finished } from "./call.ts";

/** `TO`: time limit. `OL`: standard output limit. `SG`: memory, or the sandbox itself ended. `null`: it ran to its end. */
export type ExecStatus = "TO" | "OL" | "SG" | null;

export interface Verdict {
  readonly status: ExecStatus;
  readonly code: number | null;
  readonly signal: string | null;
  /** The reference's words; the client shows these and replaces others. */
  readonly message: string | null;
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGSYS: 31,
};

/** Shorter waits are what parallel calls of one message are used to. */
const LONG_WAIT_MS = 5000;
const TIMED_OUT = 124;
const KILLED = 128 + 9;

/** 128+n as a shell says it; 128 for signals without a fixed number. */
const signalCode = (signal: string) => 128 + (SIGNAL_NUMBERS[signal] ?? 0);

export function verdict(finished: Finished): Verdict {
  // How the code was stopped is ours to choose; the reference says SIGKILL.
  const killed = { code: null, signal: "SIGKILL" };
  switch (finished.reason) {
    case "timeout":
      return { status: "TO", ...killed, message: "Time limit exceeded" };
    case "stdout_limit":
      return { status: "OL", ...killed, message: "stdout length exceeded" };
    case "out_of_memory":
      return { status: "SG", ...killed, message: "Out of memory" };
    case "sandbox_ended": {
      const { exitCode } = finished;
      return {
        status: "SG",
        code: exitCode,
        signal: exitCode === null ? (finished.signal ?? killed.signal) : null,
        message: exitCode === null ? "Sandbox was terminated" : `Sandbox exited with code ${exitCode}`,
      };
    }
    case "interrupted":
      return { status: null, code: finished.exitCode, signal: finished.signal, message: "Interrupted" };
    default:
      return {
        status: null,
        code: finished.exitCode ?? (finished.signal === null ? null : signalCode(finished.signal)),
        signal: finished.signal,
        message: null,
      };
  }
}

/** One number, as a shell has it: 124 for the time limit, 137 for memory, 128+n for signals. */
export function exitCode(finished: Finished): number {
  if (finished.reason === "timeout") return TIMED_OUT;
  if (finished.reason === "out_of_memory") return KILLED;
  if (finished.exitCode !== null) return finished.exitCode & 0xff;
  return finished.signal === null ? 1 : signalCode(finished.signal);
}

const seconds = (ms: number) => `${Math.round(ms / 100) / 10} s`;

/** What a call that waited long for its session is told. */
export function waitRemark({ kernel: { waitedMs } }: Finished): readonly string[] {
  return waitedMs < LONG_WAIT_MS
    ? []
    : [`This call waited ${seconds(waitedMs)} for an earlier call of its session.`];
}

/** Lines of the service about this call; they belong on standard error, never on standard output. */
export function sandboxNotes(finished: Finished, stateful: boolean): readonly string[] {
  const notes: string[] = [];
  const { lostBefore, after } = finished.kernel;
  if (lostBefore !== null) {
    notes.push(`The session was restarted because ${lostBefore}: ${whatIsLost(lostBefore)}.`);
  }
  const { directory } = finished.leftBehind;
  if (directory !== null) notes.push(`Files may be missing from this reply: ${directory}.`);
  const { message } = verdict(finished);
  if (message !== null) notes.push(message);
  if (finished.reason === "timeout")
    notes.push(`The time limit of this call was ${seconds(finished.timeoutMs)}.`);
  if (finished.reason === "interrupted" && finished.kernel.gaveWay) {
    notes.push("Another call of this session waited, and this one had run long enough.");
  }
  // A new kernel in the same sandbox is told by the supervisor itself.
  if (stateful && after === "gone") notes.push("The sandbox is gone: variables are lost, files are kept.");
  return notes;
}

/** Standard error with the service's lines, in the reference's form. `remarks` come before those about the end. */
export function stderrWithNotes(
  finished: Finished,
  stateful: boolean,
  remarks: readonly string[] = [],
): string {
  return (
    finished.stderr +
    [...remarks, ...sandboxNotes(finished, stateful)].map((note) => `\n[sandbox] ${note}\n`).join("")
  );
}
