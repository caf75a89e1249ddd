/** Two users in each of two tenants, one shared agent, one shared skill: who may read, list, delete, execute with what. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LibrechatUser } from "../support/librechat/tokens.ts";
import {
  type Caller,
  download,
  exec,
  metadata,
  run,
  type StoredFile,
  upload,
  uploadBatch,
} from "./support/files.ts";
import { type Service, startService } from "./support/service.ts";

const AGENT = "agent_shared";
const SKILL = "65f0000000000000000000aa";
const users = {
  "anna of acme": { id: "u-anna", tenant: "acme" },
  "bert of acme": { id: "u-bert", tenant: "acme" },
  "carl of umbra": { id: "u-carl", tenant: "umbra" },
  // The same id as Anna's, in the other tenant.
  "anna of umbra": { id: "u-anna", tenant: "umbra" },
} as const satisfies Record<string, LibrechatUser>;
type Name = keyof typeof users;
const NAMES: readonly Name[] = ["anna of acme", "bert of acme", "carl of umbra", "anna of umbra"];

const KINDS = ["user file", "agent file", "skill file", "output"] as const;
type Kind = (typeof KINDS)[number];

let service: Service;
/** All of them are Anna's of acme. */
const files = new Map<Kind, StoredFile>();

const caller = (name: Name): Caller => ({
  baseUrl: service.baseUrl,
  headers: { ...service.authorization(users[name]) },
  userId: users[name].id,
});

/** What the caller claims, as LibreChat would for that kind of file. */
function claim(kind: Kind, name: Name): { query: string; fields: object } {
  switch (kind) {
    case "agent file":
      return { query: `?kind=agent&id=${AGENT}`, fields: { kind: "agent", resource_id: AGENT } };
    case "skill file":
      return {
        query: `?kind=skill&id=${SKILL}&version=1`,
        fields: { kind: "skill", resource_id: SKILL, version: 1 },
      };
    default:
      return {
        query: `?kind=user&id=${users[name].id}`,
        fields: { kind: "user", resource_id: users[name].id },
      };
  }
}

/** Her own; agents' and skills' files are shared within the tenant. */
const allowed = (kind: Kind, name: Name): boolean =>
  name === "anna of acme" || (name === "bert of acme" && (kind === "agent file" || kind === "skill file"));

const fileOf = (kind: Kind): StoredFile => {
  const file = files.get(kind);
  if (file === undefined) throw new Error(`no ${kind}`);
  return file;
};

beforeAll(async () => {
  service = await startService();
  const anna = caller("anna of acme");
  const content = "secret of anna";
  files.set("user file", await upload(anna, { kind: "user", id: "u-anna" }, { name: "u.txt", content }));
  files.set("agent file", await upload(anna, { kind: "agent", id: AGENT }, { name: "a.txt", content }));
  const skill = { kind: "skill", id: SKILL, version: 1, readOnly: true } as const;
  const [stored] = await uploadBatch(anna, skill, [{ name: "skills/s/x.txt", content }]);
  if (stored !== undefined) files.set("skill file", stored);
  const made = await run(anna, { lang: "bash", code: `printf '${content}' > o.txt` });
  const [output] = made.files;
  if (output !== undefined) {
    files.set("output", { id: output.id, name: output.name, storage_session_id: made.session_id });
  }
});
afterAll(() => service?.stop());

const CASES = KINDS.flatMap((kind) => NAMES.map((name) => [kind, name, allowed(kind, name)] as const));
const REFUSED = [403, 404];

describe("c-14 files of Anna of acme", () => {
  it.each(CASES)("%s, read by %s: %s", async (kind, name, may) => {
    const { status, bytes } = await download(caller(name), fileOf(kind), claim(kind, name).query);
    if (may) expect([status, bytes.toString()]).toEqual([200, "secret of anna"]);
    else expect(REFUSED).toContain(status);
    expect(bytes.includes("secret")).toBe(may);
  });

  it.each(CASES)("%s, looked up by %s: %s", async (kind, name, may) => {
    const found = await metadata(caller(name), fileOf(kind), claim(kind, name).query);
    if (may) expect(found).toMatchObject({ originalFilename: fileOf(kind).name });
    else expect(REFUSED).toContain(found);
  });

  it.each(CASES)("%s, listed by %s: %s", async (kind, name, may) => {
    const { baseUrl, headers } = caller(name);
    const file = fileOf(kind);
    const response = await fetch(
      `${baseUrl}/files/${file.storage_session_id}${claim(kind, name).query}&detail=summary`,
      { headers },
    );
    expect((await response.text()).includes(file.id)).toBe(may);
  });

  it.each(CASES)("%s, executed with by %s: %s", async (kind, name, may) => {
    const file = fileOf(kind);
    const reply = await exec(caller(name), {
      lang: "bash",
      code: "cat $(find . -type f)",
      files: [{ ...file, ...claim(kind, name).fields }],
    });
    if (may) expect(reply).toMatchObject({ stdout: "secret of anna" });
    else expect(reply).toBe(403);
  });

  it.each(KINDS.map((kind) => [kind] as const))(
    "%s, claimed as another kind, stays closed to Bert",
    async (kind) => {
      for (const other of KINDS.filter((candidate) => candidate !== kind)) {
        if (
          allowed(kind, "bert of acme") &&
          claim(kind, "bert of acme").query === claim(other, "bert of acme").query
        )
          continue;
        const { status } = await download(
          caller("bert of acme"),
          fileOf(kind),
          claim(other, "bert of acme").query,
        );
        expect(REFUSED, `${kind} as ${other}`).toContain(status);
      }
      const lie = await download(caller("bert of acme"), fileOf("user file"), "?kind=user&id=u-anna");
      expect(REFUSED).toContain(lie.status);
      const nothing = await download(caller("bert of acme"), fileOf("user file"));
      expect(REFUSED).toContain(nothing.status);
    },
  );

  it("another version of the skill is another owner", async () => {
    const { status } = await download(
      caller("anna of acme"),
      fileOf("skill file"),
      `?kind=skill&id=${SKILL}&version=2`,
    );
    expect(REFUSED).toContain(status);
  });

  it("a key reaches nothing of a user's, and a user nothing of the key's", async () => {
    const key: Caller = {
      baseUrl: service.baseUrl,
      headers: { "X-API-Key": service.apiKey },
      userId: "u-anna",
    };
    for (const kind of KINDS) {
      const { status } = await download(key, fileOf(kind), claim(kind, "anna of acme").query);
      expect(REFUSED, kind).toContain(status);
    }
    const own = await upload(key, { entityId: null }, { name: "k.txt", content: "of the key" });
    for (const name of NAMES) {
      const { status } = await download(caller(name), own, `?kind=user&id=${users[name].id}`);
      expect(REFUSED, name).toContain(status);
    }
    expect((await download(key, own)).status).toBe(200);
  });

  // Last: what it may delete is gone afterwards.
  it.each([...CASES].sort((a, b) => Number(a[2]) - Number(b[2])))(
    "%s, deleted by %s: %s",
    async (kind, name, may) => {
      const { baseUrl, headers } = caller(name);
      const file = fileOf(kind);
      const remove = () =>
        fetch(`${baseUrl}/sessions/${file.storage_session_id}/objects/${file.id}${claim(kind, name).query}`, {
          method: "DELETE",
          headers,
        });
      if (!may) {
        expect(REFUSED).toContain((await remove()).status);
        const { status } = await download(caller("anna of acme"), file, claim(kind, "anna of acme").query);
        expect(status).toBe(200);
        return;
      }
      // Whoever may, one after another: the first removes it.
      expect([200, 404]).toContain((await remove()).status);
      expect((await remove()).status).toBe(404);
    },
  );
});
