/** A session's directory on its way to another host: packed by one supervisor, unpacked by another one. */
import { mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Supervised } from "./supervised.ts";

const MIB = 1024 * 1024;

async function read(sandbox: Supervised, unless: string | null = null, limit = 64 * MIB) {
  sandbox.send({
    msg_type: "workspace_read_request",
    msg_id: "read",
    content: { max_bytes: limit, unless },
  });
  const pieces: Buffer[] = [];
  let end: "none" | "last" | "aborted" = "none";
  for (;;) {
    const { body, message } = await sandbox.next();
    if (message.msg_type === "workspace_read_reply")
      return { ...message.content, end, archive: Buffer.concat(pieces) };
    if (message.msg_type !== "chunk") throw new Error(`unexpected ${message.msg_type}`);
    expect(message.parent_id).toBe("read");
    pieces.push(body);
    if (message.content?.last === true) end = "last";
    if (message.content?.aborted === true) end = "aborted";
  }
}

async function write(sandbox: Supervised, archive: Buffer, aborted = false) {
  sandbox.send({ msg_type: "workspace_write_request", msg_id: "write" });
  for (let at = 0; at < archive.length; at += 100_000) {
    sandbox.send({ msg_type: "chunk", parent_id: "write" }, archive.subarray(at, at + 100_000));
  }
  sandbox.send({ msg_type: "chunk", parent_id: "write", content: aborted ? { aborted } : { last: true } });
  const { message } = await sandbox.next();
  if (message.msg_type !== "workspace_write_reply") throw new Error(`unexpected ${message.msg_type}`);
  return message.content;
}

const MAKE = `
import os
os.makedirs('folder/inner'); os.mkdir('empty')
open('folder/inner/data.bin', 'wb').write(bytes(range(256)) * 20_000)
open('結果.txt', 'w').write('結果')
open('new\\nline', 'w').write('odd')
open('private', 'w').write('mine'); os.chmod('private', 0o600)
open('tool.sh', 'w').write('#!/bin/sh\\necho hi\\n'); os.chmod('tool.sh', 0o755)
os.symlink('/etc/passwd', 'link'); os.symlink('結果.txt', 'own link'); os.link('private', 'hard')
with open('sparse', 'wb') as f: f.truncate(1 << 30)
os.mkfifo('pipe')
os.utime('private', (1_600_000_000, 1_600_000_000))
`;

test("what one packs another one has, and none of it is news there", async () => {
  await using one = new Supervised();
  await one.hello();
  await one.run(MAKE);
  const packed = await read(one);
  expect(packed).toMatchObject({ status: "ok", end: "last", bytes: packed.archive.length });
  expect(packed.message).toBeUndefined();
  expect(packed.archive.length).toBeLessThan(6 * MIB);

  await using other = new Supervised();
  await other.hello();
  expect(await write(other, packed.archive)).toEqual({ status: "ok" });
  const at = (name: string) => join(other.data, name);
  expect(
    readFileSync(at("folder/inner/data.bin")).equals(
      Buffer.alloc(5_120_000, Buffer.from(Array.from({ length: 256 }, (_, i) => i))),
    ),
  ).toBe(true);
  expect(readFileSync(at("結果.txt"), "utf8")).toBe("結果");
  expect(readFileSync(at("new\nline"), "utf8")).toBe("odd");
  expect(statSync(at("private"))).toMatchObject({ mtimeMs: 1_600_000_000_000, nlink: 2 });
  expect(statSync(at("private")).mode & 0o777).toBe(0o600);
  expect(statSync(at("tool.sh")).mode & 0o777).toBe(0o755);
  expect(readlinkSync(at("link"))).toBe("/etc/passwd");
  expect(readlinkSync(at("own link"))).toBe("結果.txt");
  expect(statSync(at("sparse"))).toMatchObject({ size: 2 ** 30 });
  expect(statSync(at("sparse")).blocks).toBeLessThan(100);
  expect(statSync(at("pipe")).isFIFO()).toBe(true);
  expect(statSync(at("empty")).isDirectory()).toBe(true);

  const said = await other.run("print(open('結果.txt').read()); n = open('more.txt', 'w').write('x')");
  expect(said.stdout).toBe("結果\n");
  expect([...said.files.keys()]).toEqual(["more.txt"]);
});

test("what is as it was is not packed again, whatever was done without a change", async () => {
  await using sandbox = new Supervised();
  await sandbox.hello();
  await sandbox.run("open('a', 'w').write('1')");
  const { stamp } = await read(sandbox);
  await sandbox.run("print(open('a').read())");
  expect(await read(sandbox, stamp)).toMatchObject({ status: "unchanged", stamp, end: "none" });
  for (const change of [
    "open('a', 'w').write('2')",
    "import os; os.chmod('a', 0o400)",
    "import os; os.mkdir('d')",
    "import os; os.rmdir('d')",
    "import os; os.rename('a', 'b')",
    "import os; os.symlink('b', 'c')",
  ]) {
    const before = await read(sandbox);
    await sandbox.run(change);
    expect(await read(sandbox, before.stamp), change).toMatchObject({ status: "ok", end: "last" });
  }
});

test("what is too large is told by what it takes on the disk, before anything comes", async () => {
  await using sandbox = new Supervised();
  await sandbox.hello();
  await sandbox.run(`open('large', 'wb').write(b'x' * ${3 * MIB})`);
  const said = await read(sandbox, null, 2 * MIB);
  expect(said).toMatchObject({ status: "too_large", end: "none" });
  expect(said.bytes).toBeGreaterThanOrEqual(3 * MIB);
  expect(await read(sandbox, null, 4 * MIB)).toMatchObject({ status: "ok" });
});

test("not while a call runs; half an archive, and one that is none, are told and leave a sandbox that works", async () => {
  await using sandbox = new Supervised();
  await sandbox.hello();
  const id = sandbox.begin("import time\nprint('runs', flush=True)\ntime.sleep(60)");
  expect((await sandbox.next()).message.msg_type).toBe("stream");
  expect(await read(sandbox)).toMatchObject({ status: "error", message: "something runs in this sandbox" });
  sandbox.send({ msg_type: "interrupt_request", msg_id: "stop", parent_id: id });
  await sandbox.finish(id);

  mkdirSync(join(sandbox.data, "kept"));
  writeFileSync(join(sandbox.data, "kept/file"), "kept");
  const { archive } = await read(sandbox);
  expect(await write(sandbox, archive.subarray(0, 700), true)).toEqual({
    status: "error",
    message: "the sender gave up",
  });
  expect(await write(sandbox, Buffer.from("no archive at all ".repeat(100)))).toMatchObject({
    status: "error",
  });
  expect((await sandbox.run("print(open('kept/file').read())")).stdout).toBe("kept\n");
});
