import { createHash } from "node:crypto";
import { appendFileSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { distributionNames } from "../../../sandbox-image/tools/lists.ts";
import {
  allLocks,
  ensureLock,
  IMAGE_LOCK,
  lockEntry,
  lockIsCurrent,
  profileLocks,
  uvEnvironment,
} from "../../../sandbox-image/tools/lock.ts";
import { ROOM } from "../../../sandbox-image/tools/room.ts";

const pins = (lock: string): readonly string[] =>
  lock.split("\n").filter((line) => line !== "" && !line.startsWith(" ") && !line.startsWith("#"));

describe.each(allLocks().map((spec) => [relative(ROOM, spec.lock), spec] as const))("%s", (_name, spec) => {
  const lock = readFileSync(spec.lock, "utf8");

  it("is the lock of its list", () => {
    expect(lockIsCurrent(spec)).toBe(true);
  });

  it("pins every listed library exactly, each with hashes", () => {
    const names = pins(lock).map((line) => line.split("==")[0]);
    expect(names).toEqual(expect.arrayContaining([...distributionNames(readFileSync(spec.list, "utf8"))]));
    for (const line of pins(lock)) {
      expect(line).toMatch(/^[a-z0-9.-]+==[A-Za-z0-9.+!]+ \\$/);
      expect(lockEntry(lock, line.split("==")[0] ?? "")).toMatch(/\n {4}--hash=sha256:[0-9a-f]{64}/);
    }
  });

  it("names no address", () => {
    expect(lock).not.toMatch(/:\/\/|--index|--find-links/);
  });
});

it.each(
  allLocks().flatMap((spec) => spec.constraints.map((other) => [relative(ROOM, spec.lock), other] as const)),
)("%s agrees with %s, so that both fit into one environment", (lock, other) => {
  const below = pins(readFileSync(other, "utf8"));
  for (const pin of pins(readFileSync(join(ROOM, lock), "utf8"))) {
    const name = `${pin.split("==")[0]}==`;
    expect(below.filter((line) => line.startsWith(name) && line !== pin)).toEqual([]);
  }
});

it("a lock that disagrees with one below it is not current, although its list is the same", () => {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-lock-test-"));
  try {
    const [below, spec] = profileLocks("analyst");
    if (below === undefined || spec === undefined) throw new Error("analyst stands on default");
    const moved = join(directory, "moved.lock");
    writeFileSync(moved, readFileSync(below.lock, "utf8").replace(/^numpy==\S+/m, "numpy==1.0"));
    expect(lockIsCurrent(spec)).toBe(true);
    expect(lockIsCurrent({ ...spec, constraints: [moved] })).toBe(false);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

describe("a changed list", () => {
  let directory: string;
  const copy = () => {
    const spec = { list: join(directory, "list.txt"), lock: join(directory, "list.lock"), constraints: [] };
    copyFileSync(IMAGE_LOCK.list, spec.list);
    copyFileSync(IMAGE_LOCK.lock, spec.lock);
    return spec;
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "kernelyard-lock-test-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("is noticed, and an unchanged one costs nothing", async () => {
    const spec = copy();
    const said: string[] = [];
    expect(await ensureLock(spec, (line) => said.push(line))).toBe(false);
    expect(said).toEqual([]);
    appendFileSync(spec.list, "sympy\n");
    expect(lockIsCurrent(spec)).toBe(false);
  });

  it("is noticed by the Dockerfile in the same way", () => {
    const list = readFileSync(IMAGE_LOCK.list);
    const digest = createHash("sha256").update(list).digest("hex");
    expect(readFileSync(IMAGE_LOCK.lock, "utf8").startsWith(`# sha256 of the list: ${digest}\n`)).toBe(true);
    const dockerfile = readFileSync(join(IMAGE_LOCK.list, "..", "Dockerfile.rce"), "utf8");
    expect(dockerfile).toContain('"# sha256 of the list: $(sha256sum /build/rce_requirements.txt');
  });
});

describe("a lock's entry", () => {
  const lock = "# head\na==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\nb==2 \\\n    --hash=sha256:3\n";

  it("ends where the next begins", () => {
    expect(lockEntry(lock, "a")).toBe("a==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n");
    expect(lockEntry(lock, "b")).toBe("b==2 \\\n    --hash=sha256:3\n");
  });

  it("must be there", () => {
    expect(() => lockEntry(lock, "c")).toThrow("no entry for `c`");
  });
});

it("uv is told what pip's users have set already", () => {
  expect(
    uvEnvironment({ PIP_CERT: "/own.crt", PIP_INDEX_URL: "https://mirror.example/simple" }),
  ).toMatchObject({
    SSL_CERT_FILE: "/own.crt",
    UV_DEFAULT_INDEX: "https://mirror.example/simple",
    UV_PYTHON_DOWNLOADS: "never",
  });
  expect(uvEnvironment({})).not.toHaveProperty("SSL_CERT_FILE");
});
