/**
 * Everyday tasks as people ask for them: `tasks/PROFILE/NAME.py`. What they bring (`given`), the code that answers them (`task`)
 * and what proves the result (`check`) run as three calls, each in a sandbox of its own; files travel as LibreChat has them.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { z } from "zod";
import type { Stack } from "../../support/stack.ts";

const FOLDER = join(import.meta.dirname, "tasks");

export interface Task {
  readonly name: string;
  /** What the person wrote. */
  readonly asked: string;
  readonly given: string | null;
  readonly task: string;
  readonly check: string;
}

const partOf = (text: string, name: string): string | null =>
  new RegExp(`^# --- ${name}\n([\\s\\S]*?)(?=^# --- |$(?![\\s\\S]))`, "m").exec(text)?.[1] ?? null;

export const tasksOf = (profile: string): readonly Task[] =>
  readdirSync(join(FOLDER, profile)).map((file) => {
    const text = readFileSync(join(FOLDER, profile, file), "utf8");
    const [task, check] = [partOf(text, "task"), partOf(text, "check")];
    if (task === null || check === null) throw new Error(`${profile}/${file} has no task or no check`);
    const asked = /^"""(.*)"""$/m.exec(text)?.[1] ?? "";
    return { name: file.replace(/\.py$/, ""), asked, given: partOf(text, "given"), task, check };
  });

const Reply = z.object({
  session_id: z.string(),
  stdout: z.string(),
  stderr: z.string(),
  /** Null: the program was ended. */
  code: z.number().nullable(),
  files: z.array(
    z.object({ id: z.string(), name: z.string(), storage_session_id: z.string().optional() }).loose(),
  ),
});
type Reply = z.output<typeof Reply>;

async function call(stack: Stack, code: string, inputs: Reply["files"], session: string): Promise<Reply> {
  const files = inputs.map(({ id, name, storage_session_id = session }) => ({
    id,
    name,
    storage_session_id,
  }));
  const response = await stack.post("/v1/exec", { lang: "py", code, files });
  const body: unknown = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  const reply = Reply.parse(body);
  expect(reply.code, JSON.stringify(body)).toBe(0);
  return reply;
}

/** Milliseconds that the task's own call took. */
export async function carryOut(stack: Stack, { given, task, check }: Task): Promise<number> {
  const brought = given === null ? null : await call(stack, given, [], "");
  const began = performance.now();
  const done = await call(stack, task, brought?.files ?? [], brought?.session_id ?? "");
  const ms = performance.now() - began;
  // A model that reads warnings tries again.
  expect(done.stderr).toBe("");
  const checked = await call(stack, check, done.files, done.session_id);
  expect(checked.stdout).toBe("checked\n");
  return ms;
}
