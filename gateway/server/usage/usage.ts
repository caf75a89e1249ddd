/**
 * What each tenant has used, by month: counts and nothing else. In memory, and in one small file that is replaced as a whole a
 * moment after something was counted, so that it outlives a restart; a killed process loses that moment.
 */
import { readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { z } from "@hono/zod-openapi";

/** Tenants that have a row of their own; further ones count together. Tokens bring names that nobody has configured. */
export const MOST_TENANTS = 1000;
/** No tenant has such a name. */
export const OTHERS = "-others";
/** A year, and the month that is not over. */
export const MOST_MONTHS = 13;
const WRITTEN_AFTER_MS = 10_000;

export const Counts = z.object({
  calls: z.number().int().nonnegative().openapi({ description: "Calls whose code ran." }),
  seconds: z.number().nonnegative().openapi({ description: "That their code ran." }),
  stored_bytes: z
    .number()
    .nonnegative()
    .openapi({ description: "Of files that were uploaded, or that code left." }),
  sent_bytes: z.number().nonnegative().openapi({ description: "Of downloads." }),
});
export type Counts = z.infer<typeof Counts>;

export const MonthCounts = Counts.extend({
  month: z
    .string()
    .regex(/^\d{4}-\d{2}$/)
    .openapi({ description: "`2026-11`, in UTC." }),
}).openapi("MonthOfUsage");
export type MonthCounts = z.infer<typeof MonthCounts>;

const UsageFile = z.strictObject({
  version: z.literal(1),
  rows: z.array(MonthCounts.extend({ tenant: z.string().max(4096) })).max((MOST_TENANTS + 1) * MOST_MONTHS),
});

export interface UsageOptions {
  /** Null: in memory alone. */
  readonly path: string | null;
  readonly now: () => number;
  /** Told when the file cannot be read or written; and when it can be again (null). */
  readonly onProblem: (problem: string | null) => void;
}

export class Usage {
  readonly #options: UsageOptions;
  readonly #tenants = new Map<string, Map<string, MonthCounts>>();
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> = Promise.resolve();
  #failing = false;

  /** A file that is none of ours is put aside, once: counts begin anew, and the service serves. */
  constructor(options: UsageOptions) {
    this.#options = options;
    if (options.path === null) return;
    for (const { tenant, ...counts } of this.#read(options.path)) {
      this.#monthsOf(tenant).set(counts.month, counts);
    }
  }

  /** Never waits and never throws. */
  add(tenant: string, more: Partial<Counts>): void {
    const month = new Date(this.#options.now()).toISOString().slice(0, 7);
    const months = this.#monthsOf(tenant);
    const before = months.get(month) ?? { month, calls: 0, seconds: 0, stored_bytes: 0, sent_bytes: 0 };
    months.set(month, {
      month,
      calls: before.calls + (more.calls ?? 0),
      seconds: before.seconds + (more.seconds ?? 0),
      stored_bytes: before.stored_bytes + (more.stored_bytes ?? 0),
      sent_bytes: before.sent_bytes + (more.sent_bytes ?? 0),
    });
    for (const old of months.keys()) {
      if (months.size <= MOST_MONTHS) break;
      months.delete(old);
    }
    this.#soon();
  }

  /** Newest month first. */
  of(tenant: string): MonthCounts[] {
    return [...(this.#tenants.get(tenant)?.values() ?? [])].reverse().map(rounded);
  }

  tenants(): { tenant: string; months: MonthCounts[] }[] {
    return [...this.#tenants.keys()].sort().map((tenant) => ({ tenant, months: this.of(tenant) }));
  }

  /** How many months there were. Resolves when they are gone from the file too; rejects as `node:fs` does. */
  async forget(tenant: string): Promise<number> {
    const months = this.#tenants.get(tenant)?.size ?? 0;
    if (!this.#tenants.delete(tenant)) return 0;
    await this.#write();
    return months;
  }

  /** Resolves when what was counted is in the file, or cannot be. */
  async close(): Promise<void> {
    if (this.#timer === null) return this.#writing;
    await this.#write().catch((error: unknown) => this.#failed(error));
  }

  #monthsOf(tenant: string): Map<string, MonthCounts> {
    const known = this.#tenants.get(tenant);
    if (known !== undefined) return known;
    if (this.#tenants.size >= MOST_TENANTS && tenant !== OTHERS) return this.#monthsOf(OTHERS);
    const months = new Map<string, MonthCounts>();
    this.#tenants.set(tenant, months);
    return months;
  }

  #read(path: string): z.infer<typeof UsageFile>["rows"] {
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) this.#failed(error);
      return [];
    }
    try {
      return UsageFile.parse(JSON.parse(text)).rows;
    } catch {
      this.#options.onProblem(`${path} is not what this version writes: counts of usage begin anew`);
      return [];
    }
  }

  #soon(): void {
    if (this.#options.path === null || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      void this.#write().catch((error: unknown) => this.#failed(error));
    }, WRITTEN_AFTER_MS).unref();
  }

  /** One after another; each has what was counted when its turn came. */
  #write(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const written = this.#writing.then(() => this.#replace());
    this.#writing = written.catch(() => {});
    return written;
  }

  async #replace(): Promise<void> {
    const { onProblem, path } = this.#options;
    if (path === null) return;
    const rows = [...this.#tenants].flatMap(([tenant, months]) =>
      [...months.values()].map((counts) => ({ tenant, ...rounded(counts) })),
    );
    const unfinished = `${path}.new`;
    const file = await open(unfinished, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify({ version: 1, rows } satisfies z.infer<typeof UsageFile>));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
    if (this.#failing) onProblem(null);
    this.#failing = false;
  }

  #failed(error: unknown): void {
    if (!this.#failing) this.#options.onProblem(`counts of usage are not kept: ${String(error)}`);
    this.#failing = true;
  }
}

const rounded = (counts: MonthCounts): MonthCounts => ({
  ...counts,
  seconds: Math.round(counts.seconds * 1000) / 1000,
});
