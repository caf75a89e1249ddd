/** Lines of the audit log: what they say, whose they are, and a file's bytes without somebody. */
import type { Subject } from "../auth/principal.ts";
import { AuditEntry, anonymous } from "./entry.ts";

/** What becomes of the entries of whom is erased: they stay without saying who it was, or go. */
export type ErasedEntries = "anonymous" | "remove";

const NEWLINE = 0x0a;
/** An entry has 5 KiB at most. Whatever goes on for longer is no line of ours and is taken in pieces. */
const LONGEST_LINE = 1024 * 1024;

/** Null: half a line, as a killed process or the beginning of what was read leaves it. */
export function entryOf(line: string): AuditEntry | null {
  if (line === "") return null;
  try {
    return AuditEntry.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

function isWhose({ auth, subject, tenant }: AuditEntry, { tenant: of, user }: Subject): boolean {
  return tenant === of && (user === null || (auth === "jwt" && subject === user));
}

/**
 * The bytes of a file of the log after an erasure; `onErased` hears of each entry of the subject's. Lines that are no entry
 * stay as they are, unless they are half of one of theirs. Holds a chunk and a line.
 */
export async function* erased(
  bytes: AsyncIterable<Uint8Array>,
  subject: Subject,
  policy: ErasedEntries,
  onErased: () => void,
): AsyncGenerator<Uint8Array> {
  // As `JSON.stringify` has written it: a block without these bytes has no entry of theirs.
  const marks = [`"tenant":${JSON.stringify(subject.tenant)}`];
  if (subject.user !== null) marks.push(`"subject":${JSON.stringify(subject.user)}`);
  const named = (block: Buffer) => marks.every((mark) => block.includes(mark));
  const lineAfter = (line: Buffer): Buffer => {
    if (!named(line)) return line;
    const entry = entryOf(line.toString());
    if (entry !== null && !isWhose(entry, subject)) return line;
    onErased();
    if (entry === null || policy === "remove") return Buffer.alloc(0);
    return Buffer.from(`${JSON.stringify(anonymous(entry, subject.user === null))}\n`);
  };

  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of bytes) {
    const block = Buffer.concat([rest, chunk]);
    const end = block.length > LONGEST_LINE ? block.length : block.lastIndexOf(NEWLINE) + 1;
    const whole = block.subarray(0, end);
    rest = block.subarray(end);
    if (end > 0) yield named(whole) ? Buffer.concat(linesOf(whole).map(lineAfter)) : whole;
  }
  if (rest.length > 0) yield lineAfter(rest);
}

/** Each with its newline. */
function linesOf(block: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let at = 0; at < block.length; ) {
    const newline = block.indexOf(NEWLINE, at);
    const end = newline === -1 ? block.length : newline + 1;
    lines.push(block.subarray(at, end));
    at = end;
  }
  return lines;
}
