/** Why a session's variables went between two of its calls, and the words in which the next call is told. */
export const LOSSES = {
  idle: "it was not used for too long",
  gave_way: "the host was full and it had been idle longest",
  protocol: "its sandbox broke the protocol",
  out_of_memory: "it ran out of memory",
  ended: "its sandbox ended",
  profile: "its sandboxes have another profile now",
  asked: "its owner asked for it",
  unstoppable: "the call before gave way and did not stop when interrupted",
  host_lost: "the host that had it was lost",
  moved: "it has another host now",
} as const;

export type Loss = keyof typeof LOSSES;

/** With these the files went, too. */
export const LOST_WITH_FILES: ReadonlySet<string> = new Set([LOSSES.host_lost, LOSSES.moved]);
