import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stageContext } from "../../../sandbox-image/tools/image-build.ts";
import { distributionNames, listEntries } from "../../../sandbox-image/tools/lists.ts";
import { contentDigest, contextFiles, verificationDigest } from "../../../sandbox-image/tools/plan.ts";
import { sandboxRecipe } from "../../../sandbox-image/tools/recipe.ts";
import { ROOM } from "../../../sandbox-image/tools/room.ts";

describe("the content's digest", () => {
  let room: string;

  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), "kernelyard-room-"));
    cpSync(ROOM, room, { recursive: true });
  });
  afterEach(() => rmSync(room, { recursive: true, force: true }));

  it("is the same for the same files, wherever they are", () => {
    expect(contentDigest("default", room)).toBe(contentDigest("default"));
  });

  it.each([
    "Dockerfile.rce",
    "rce_requirements.lock",
    "debian_packages.txt",
    "matplotlibrc",
    "supervisor/__main__.py",
    "kernel/__init__.py",
    "profiles/default/languages.json",
    "profiles/default/smoke/hello.sh",
  ])("changes with %s", (file) => {
    const before = contentDigest("default", room);
    appendFileSync(join(room, file), "\n# changed\n");
    expect(contentDigest("default", room)).not.toBe(before);
  });

  it("does not change with what does not ship; the verification has a digest of its own", () => {
    const before = contentDigest("default", room);
    const proof = verificationDigest(room);
    const tools = readdirSync(join(room, "tools"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(room.length + 1));
    expect(tools.length).toBeGreaterThan(10);
    const others = ["README.md", "pyproject.toml", "dev_requirements.txt", "build-machine/README.md"];
    for (const file of [...others, ...tools]) {
      appendFileSync(join(room, file), "\n# changed\n");
      expect(contentDigest("default", room), file).toBe(before);
    }
    expect(verificationDigest(room)).not.toBe(proof);
  });

  it("follows the list of an operator's own folder, and is over all of one without a list", () => {
    mkdirSync(join(room, "certificates"));
    const before = contentDigest("default", room);
    writeFileSync(join(room, "certificates", "own.crt"), "x");
    expect(contentDigest("default", room), "not on the list: it cannot be copied either").toBe(before);
    appendFileSync(join(room, ".dockerignore"), "!certificates\n");
    expect(contextFiles("default", room)).toContain("certificates/own.crt");
    rmSync(join(room, ".dockerignore"));
    expect(contextFiles("default", room)).toContain("README.md");
  });

  it("changes when a file is added to the code, and when content moves between files", () => {
    const before = contentDigest("default", room);
    writeFileSync(join(room, "supervisor", "added.py"), "a");
    const added = contentDigest("default", room);
    rmSync(join(room, "supervisor", "added.py"));
    writeFileSync(join(room, "kernel", "added.py"), "a");
    const moved = contentDigest("default", room);
    expect(new Set([before, added, moved]).size).toBe(3);
  });

  it("does not change with caches or with another profile's files", () => {
    const before = contentDigest("default", room);
    mkdirSync(join(room, "kernel", "__pycache__"), { recursive: true });
    writeFileSync(join(room, "kernel", "__pycache__", "x.cpython-311.pyc"), "x");
    mkdirSync(join(room, "supervisor", ".mypy_cache"));
    writeFileSync(join(room, "supervisor", ".mypy_cache", "x.json"), "{}");
    writeFileSync(join(room, "profiles", "polyglot", "added"), "x");
    appendFileSync(join(room, "profiles", "analyst", "debian_packages.txt"), "hello\n");
    expect(contentDigest("default", room)).toBe(before);
    // Who misses a library is told who has it.
    appendFileSync(join(room, "profiles", "analyst", "requirements.txt"), "hello\n");
    expect(contentDigest("default", room)).not.toBe(before);
  });

  it("differs between profiles", () => {
    expect(contentDigest("default")).not.toBe(contentDigest("polyglot"));
  });

  it("names the file that is missing", () => {
    expect(() => contentDigest("nowhere", room)).toThrow("no profile `nowhere`");
    rmSync(join(room, "matplotlibrc"));
    expect(() => contentDigest("default", room)).toThrow("asks for `matplotlibrc`");
  });

  it("covers exactly what the build is given", () => {
    const target = join(room, "staged");
    stageContext(sandboxRecipe("default", { name: "base", id: "" }, {}, room), target);
    const staged = readdirSync(target, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(target.length + 1));
    expect(staged.sort()).toEqual([...contextFiles("default")]);
  });
});

describe("the lists", () => {
  it("have one entry a line, with comments", () => {
    expect(listEntries("# all\n\npandas  # frames\n numpy\n#scipy\n")).toEqual(["pandas", "numpy"]);
  });

  it("give the distributions' names without versions, extras and markers", () => {
    const list =
      'pandas[excel,html]>=3\nscikit-learn ~= 1.5 ; python_version > "3"\nzope.interface==7 # why\n';
    expect(distributionNames(list)).toEqual(["pandas", "scikit-learn", "zope.interface"]);
  });

  it("refuse a line that names no package", () => {
    expect(() => distributionNames("numpy\n--pre\n")).toThrow("`--pre` does not name a package");
  });

  it("have the specification's libraries", () => {
    const names = distributionNames(readFileSync(join(ROOM, "rce_requirements.txt"), "utf8"));
    expect(names).toEqual(expect.arrayContaining(["pandas", "numpy", "scipy", "matplotlib", "ipykernel"]));
  });
});
