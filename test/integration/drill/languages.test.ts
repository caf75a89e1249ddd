/**
 * The thirteen languages of LibreChat's list through its real clients, in profile `polyglot`: arguments, a closed standard
 * input, files in and out, exit codes, errors of compilers, time and memory. The table says how long a first call took, and a second one of a session.
 * Long form alone: `npm run drill -- languages`.
 */
import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Caller, upload } from "../../contract/support/files.ts";
import { ALICE, type Service, startService } from "../../contract/support/service.ts";
import { LONG_FORM } from "../../support/drill.ts";
import { callTool, loadAgents } from "../../support/librechat/clients.ts";
import { testImageOf } from "../../support/profile-images.ts";

const ROOT = join(import.meta.dirname, "../../..");
const TASKS = join(import.meta.dirname, "../profiles/languages");

const Language = z.object({ id: z.string(), extension: z.string() });
const LANGUAGES = z
  .array(Language)
  .parse(JSON.parse(readFileSync(join(ROOT, "sandbox-image/profiles/polyglot/languages.json"), "utf8")));
const taskOf = ({ extension }: z.infer<typeof Language>) =>
  readFileSync(join(TASKS, `task${extension}`), "utf8");
/** Text that none of them takes. Bash reads on, and says so; to PHP everything is a page to print, up to its own mark. */
const nonsenseFor = (id: string) => `${id === "php" ? "<?php " : ""})( this is no program {{`;
const MEMORY = "1g";

it("has a task for each language of LibreChat's list", () => {
  const list = ["py", "js", "ts", "c", "cpp", "java", "php", "rs", "go", "d", "f90", "r", "bash"];
  expect(LANGUAGES.map(({ id }) => id).sort()).toEqual([...list].sort());
  const extensions = readdirSync(TASKS).map((file) => extname(file));
  expect(extensions.sort()).toEqual(LANGUAGES.map(({ extension }) => extension).sort());
});

const Reply = z.looseObject({
  stdout: z.string(),
  stderr: z.string(),
  code: z.number().nullable(),
  status: z.string().nullable(),
});

describe.each(LONG_FORM ? ["polyglot"] : [])("thirteen languages in profile %s", (profile) => {
  let service: Service;
  const table: string[] = [];
  beforeAll(async () => {
    service = await startService(
      { KERNELYARD_PROFILE: profile, KERNELYARD_IMAGE: testImageOf(profile), KERNELYARD_MEMORY: MEMORY },
      { checkpoints: "ready" },
    );
  });
  afterAll(async () => {
    process.stdout.write(`${profile}, first and second call:\n${table.join("\n")}\n`);
    await service?.stop();
  });
  const caller = (): Caller => ({
    baseUrl: service.baseUrl,
    headers: { ...service.authorization(), "User-Agent": "LibreChat/1.0" },
    userId: ALICE.id,
  });
  async function exec(body: object): Promise<z.infer<typeof Reply>> {
    const response = await fetch(`${service.baseUrl}/exec`, {
      method: "POST",
      headers: { "content-type": "application/json", ...service.authorization() },
      body: JSON.stringify({ user_id: ALICE.id, ...body }),
    });
    const answer: unknown = await response.json();
    expect(response.status, JSON.stringify(answer)).toBe(200);
    return Reply.parse(answer);
  }

  it.each(LANGUAGES)("$id: arguments, standard input, files and an exit code", async (language) => {
    const stored = await upload(
      caller(),
      { kind: "user", id: ALICE.id },
      { name: "in.txt", content: "yard\n" },
    );
    const files = [{ ...stored, kind: "user", resource_id: ALICE.id }];
    const tool = loadAgents().createCodeExecutionTool({
      baseUrl: service.baseUrl,
      user_id: ALICE.id,
      authHeaders: async () => service.authorization(),
      executionProfile: "default",
      codeSessionKey: "execute_code",
      executionRouteKey: "default",
      files,
    });
    const asked = { lang: language.id, code: taskOf(language), args: ["A", "b c"] };
    const began = performance.now();
    const { artifact, content } = await callTool(tool, "execute_code", asked);
    const first = performance.now() - began;
    expect(content).toContain("stdout:\nargs A|b c\nstdin 0");
    expect(content).not.toContain("stderr");
    const out = artifact.files?.find(({ name }) => name === "out.txt");
    const read = await exec({ lang: "bash", code: "cat out.txt", files: [out] });
    expect(read.stdout).toBe("yard A\n");
    expect(await exec({ ...asked, files })).toMatchObject({ code: 3, status: null });
    const hint = { runtime_session_hint: `v2:conversation:language-${language.id}`, files };
    await exec({ ...asked, ...hint });
    const again = performance.now();
    expect(await exec({ ...asked, ...hint })).toMatchObject({ code: 3 });
    const second = performance.now() - again;
    table.push(`${language.id} ${(first / 1000).toFixed(1)} s, ${(second / 1000).toFixed(1)} s`);
  });

  it.each(LANGUAGES)("$id: what it cannot read is a result, with its words and code", async ({ id }) => {
    const { code, stderr, stdout } = await exec({ lang: id, code: nonsenseFor(id) });
    expect(code, `${stdout}${stderr}`).not.toBe(0);
    expect(`${stdout}${stderr}`).not.toBe("");
  });

  it("a program that runs for ever ends at its time, one that takes all memory at its limit", async () => {
    expect(await exec({ lang: "c", code: "int main(void) { for (;;) ; }", timeout: 2000 })).toMatchObject({
      status: "TO",
    });
    const greedy =
      "#include <stdlib.h>\n#include <string.h>\nint main(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }";
    expect(await exec({ lang: "c", code: greedy })).toMatchObject({ code: null });
  });
});
