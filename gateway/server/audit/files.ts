/** Names of the audit log's files: `audit-DATE.N.jsonl`. */
import { readdir } from "node:fs/promises";

const NAME = /^audit-(\d{4}-\d{2}-\d{2})\.(\d{1,9})\.jsonl$/;

export interface LogFile {
  readonly name: string;
  readonly date: string;
  readonly number: number;
}

/** Null: none of the log's. */
export function logFile(name: string): LogFile | null {
  const [, date, number] = NAME.exec(name) ?? [];
  return date === undefined ? null : { name, date, number: Number(number) };
}

export function byAge(one: LogFile, other: LogFile): number {
  return one.date.localeCompare(other.date) || one.number - other.number;
}

/** Oldest first. */
export async function logFiles(directory: string): Promise<LogFile[]> {
  const names = await readdir(directory);
  return names.flatMap((name) => logFile(name) ?? []).sort(byAge);
}
