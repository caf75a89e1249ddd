import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, test } from "vitest";
import { CHECKSUMS, fitsSandboxes, readMirror } from "../../../gateway/common/wheels.ts";
import { withoutPinned } from "../../../sandbox-image/tools/wheels/selection.ts";

describe("a wheel for sandboxes", () => {
  test.each([
    "yard-1.0-py3-none-any.whl",
    "yard-1.0-py2.py3-none-any.whl",
    "yard-1.0-1-py3-none-any.whl",
    "yard-1.0-py38-none-any.whl",
    "yard-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "yard-1.0-cp311-cp311-manylinux_2_36_x86_64.whl",
    "yard-1.0-cp39-abi3-manylinux_2_28_x86_64.whl",
    "yard-1.0-cp38.cp39.cp310.cp311-none-manylinux1_x86_64.whl",
    "yard-1.0-cp311-cp311-linux_x86_64.whl",
  ])("%s is one", (file) => expect(fitsSandboxes(file, "x86_64")).toBe(true));

  test.each([
    "yard-1.0.tar.gz",
    "yard-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
    "yard-1.0-cp312-abi3-manylinux_2_17_x86_64.whl",
    "yard-1.0-cp310-cp310-manylinux_2_17_x86_64.whl",
    "yard-1.0-cp311-cp311t-manylinux_2_17_x86_64.whl",
    "yard-1.0-cp311-cp311-manylinux_2_39_x86_64.whl",
    "yard-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
    "yard-1.0-cp311-cp311-manylinux_2_17_aarch64.whl",
    "yard-1.0-cp311-cp311-win_amd64.whl",
    "yard-1.0-py2-none-any.whl",
    "yard-1.0-py313-none-any.whl",
    "..-1.0-py3-none-any.whl",
  ])("%s is none", (file) => expect(fitsSandboxes(file, "x86_64")).toBe(false));
});

describe("a mirror of wheels", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "wheels-"));
    chmodSync(folder, 0o755);
    for (const file of ["a-1-py3-none-any.whl", "b-2-py3-none-any.whl"])
      writeFileSync(join(folder, file), file);
    list("a-1-py3-none-any.whl", "b-2-py3-none-any.whl");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const list = (...files: string[]) =>
    writeFileSync(join(folder, CHECKSUMS), files.map((file) => `${"0".repeat(64)}  ${file}\n`).join(""));

  it("is named by the digest of its checksums", () => {
    const read = readMirror(folder, "x86_64");
    expect(read).toMatchObject({
      folder,
      wheels: 2,
      bytes: 40,
      digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    });
    expect(readMirror(folder, "x86_64").digest).toBe(read.digest);
  });

  const put = (file: string) => writeFileSync(join(folder, file), "");
  test.each<readonly [string, () => void, RegExp]>([
    ["a source archive", () => put("c-1.tar.gz"), /c-1\.tar\.gz is no wheel for CPython 3\.11 on Linux/],
    ["another Python's wheel", () => put("c-1-cp312-cp312-linux_x86_64.whl"), /cp312\S* is no wheel for/],
    [
      "a link",
      () => symlinkSync("/etc/shadow", join(folder, "c-1-py3-none-any.whl")),
      /c-1-\S+ is no wheel for/,
    ],
    ["a wheel that is not listed", () => put("c-1-py3-none-any.whl"), /c-1-\S+ is not both in .* SHA256SUMS/],
    [
      "a listed wheel that is not there",
      () => rmSync(join(folder, "b-2-py3-none-any.whl")),
      /b-2-\S+ is not both/,
    ],
    ["a list of another form", () => writeFileSync(join(folder, CHECKSUMS), "words\n"), /has a line words/],
    ["no list", () => rmSync(join(folder, CHECKSUMS)), /cannot be read \(ENOENT/],
    [
      "a wheel for its owner alone",
      () => chmodSync(join(folder, "a-1-py3-none-any.whl"), 0o600),
      /chmod o\+r\)/,
    ],
    ["a folder for its owner alone", () => chmodSync(folder, 0o700), /chmod o\+rx\)/],
    ["no folder", () => rmSync(folder, { recursive: true }), /cannot be read \(ENOENT/],
  ])("is refused with %s, and says what to do", (_what, change, message) => {
    change();
    expect(() => readMirror(folder, "x86_64")).toThrow(message);
    expect(() => readMirror(folder, "x86_64")).toThrow(
      /^KERNELYARD_WHEELS: .* Remedy: .*npm run wheels -- LIST /,
    );
  });
});

it("leaves out of a mirror what every sandbox has", () => {
  const lock =
    "# header\na==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\nb==2 \\\n    --hash=sha256:bb\nc==3 \\\n    --hash=sha256:cc\n";
  expect(withoutPinned(lock, "b==2 \\\n    --hash=sha256:bb\nc==4 \\\n    --hash=sha256:cd\n")).toBe(
    "# header\na==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\nc==3 \\\n    --hash=sha256:cc\n",
  );
});
