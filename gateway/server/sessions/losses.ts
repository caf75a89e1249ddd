/** Why a session's variables went between two of its calls, and the words in which the next call is told. */
export const LOSSES = {
  idle: "it was not used for too long",
  gave_way: "the host was full and it had been idle longest",
  protocol: "its sandbox broke the protocol",
  out_of_memory: "it ran out of memory",
  disk_failed: "the host's disk failed under its files, of which those written last may be missing",
  ended: "its sandbox ended",
  profile: "its sandboxes have another profile now",
  asked: "its owner asked for it",
  unstoppable: "the call before gave way and did not stop when interrupted",
  host_lost: "the host that had it was lost",
  moved: "it has another host now",
  host_lost_saved: "its host was lost",
  moved_saved: "it moved to another host",
} as const;

export type Loss = keyof typeof LOSSES;

const WITHOUT_FILES: ReadonlySet<string> = new Set([LOSSES.host_lost, LOSSES.moved]);
const WITH_SAVED_FILES: ReadonlySet<string> = new Set([LOSSES.host_lost_saved, LOSSES.moved_saved]);

/** Who has no variables to miss is told as well: the files are gone, or may be older ones. */
export function concernsFiles(lost: string): boolean {
  return WITHOUT_FILES.has(lost) || lost === LOSSES.host_lost_saved;
}

/** For the reader of a reply. */
export function whatIsLost(lost: string): string {
  if (WITHOUT_FILES.has(lost)) return "variables and files are lost";
  return WITH_SAVED_FILES.has(lost)
    ? "variables are lost, files are as they were last saved"
    : "variables are lost, files are kept";
}
