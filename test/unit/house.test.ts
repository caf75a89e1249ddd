/** The house's rule, with imports read as text; ARCHITECTURE.md has the rooms. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
/** A room imports itself and rooms of the floors before its own; a folder on no floor imports itself alone. */
const FLOORS = [
  ["gateway/common", "gateway/host"],
  ["gateway/server", "gateway/launcher", "sandbox-image"],
  ["gateway/cli", "gateway/image", "infra", "monitoring"],
];
const roomOf = (path: string) => /^gateway\/[^/]+|^[^/]+/.exec(path)?.[0] ?? path;
const floorOf = (path: string) => FLOORS.findIndex((rooms) => rooms.includes(roomOf(path)));

interface Import {
  readonly from: string;
  readonly to: string;
}

/** What a file imports of the project; types count as well. */
function importsOf(from: string): Import[] {
  const text = readFileSync(join(ROOT, from), "utf8");
  const paths = from.endsWith(".py")
    ? [...text.matchAll(/^\s*from (supervisor|kernel)(?:\.(\w+))? import ([\w, ]+)/gm)].flatMap(
        ([, folder, name, names = ""]) =>
          (name ?? names).split(/[, ]+/).map((module) => `sandbox-image/${folder}/${module}.py`),
      )
    : [...text.matchAll(/(?:from|import|require)[ (]*"(\.\.?\/[^"]+)"/g)].map(([, path = ""]) =>
        join(dirname(from), path),
      );
  const there = (path: string) =>
    [path, `${path}.ts`, `${path}/index.ts`].find((one) => /\.\w+$/.test(one) && existsSync(join(ROOT, one)));
  return paths.flatMap((path) => {
    const to = there(path);
    return to === undefined ? [] : [{ from, to }];
  });
}

/** Imports that go up, across or out. */
const wrong = (imports: readonly Import[]): Import[] =>
  imports.filter(
    ({ from, to }) => roomOf(from) !== roomOf(to) && (floorOf(to) === -1 || floorOf(to) >= floorOf(from)),
  );

/** Neighbours in a folder, files or folders, that import each other in a circle, at every depth of the house. */
function circles(imports: readonly Import[]): string[] {
  const arrows = new Map<string, Set<string>>();
  for (const { from, to } of imports) {
    const [a, b] = [from.split("/"), to.split("/")];
    const depth = a.findIndex((part, index) => part !== b[index]) + 1;
    const start = a.slice(0, depth).join("/");
    arrows.set(start, (arrows.get(start) ?? new Set()).add(b.slice(0, depth).join("/")));
  }
  // A set that grows while it is walked is walked to its end: afterwards it holds all that can be reached.
  for (const ends of arrows.values()) {
    for (const next of ends) for (const further of arrows.get(next) ?? []) ends.add(further);
  }
  const together = (start: string, ends: ReadonlySet<string>) =>
    [...ends].filter((end) => arrows.get(end)?.has(start)).sort();
  const found = [...arrows].map(([start, ends]) => together(start, ends).join(" ↔ "));
  return [...new Set(found)].filter((circle) => circle !== "").sort();
}

const house = globSync("{gateway,infra,monitoring,policies,sandbox-image}/**/*.{ts,py}", {
  cwd: ROOT,
  exclude: (name) => name === "node_modules",
}).flatMap(importsOf);

describe("the house", () => {
  it("imports go down: common, host ← server, launcher, sandbox-image ← cli, image, infra", () => {
    expect(house.length).toBeGreaterThan(300);
    expect(wrong(house)).toEqual([]);
  });

  it("has no circle, of files or of rooms", () => expect(circles(house)).toEqual([]));
});

describe("the rule notices", () => {
  it.each([
    ["gateway/common/ids.ts", "gateway/server/main.ts"],
    ["gateway/common/ids.ts", "gateway/host/users.ts"],
    ["gateway/host/users.ts", "gateway/launcher/main.ts"],
    ["gateway/server/main.ts", "gateway/launcher/main.ts"],
    ["gateway/launcher/main.ts", "gateway/server/main.ts"],
    ["gateway/server/main.ts", "sandbox-image/tools/plan.ts"],
    ["gateway/launcher/main.ts", "gateway/cli/start/main.ts"],
    ["sandbox-image/tools/plan.ts", "infra/parts/tags.ts"],
    ["gateway/image/healthy.ts", "infra/parts/tags.ts"],
    ["infra/program.ts", "gateway/cli/start/main.ts"],
    ["gateway/server/main.ts", "monitoring/alerts.ts"],
    ["gateway/cli/start/main.ts", "gateway/image/healthy.ts"],
    ["policies/rules/aws.ts", "gateway/common/ids.ts"],
    ["infra/program.ts", "policies/rules/aws.ts"],
    ["gateway/server/main.ts", "test/run.ts"],
  ])("%s importing %s", (from, to) => expect(wrong([...house, { from, to }])).toContainEqual({ from, to }));

  it("a circle of two files, of three, and of two folders whose files make none", () => {
    const of = (...pairs: readonly string[]) =>
      circles(
        pairs.map((pair) => {
          const [from = "", to = ""] = pair.split(">");
          return { from, to };
        }),
      );
    expect(of("a/x>a/y", "a/y>a/x")).toEqual(["a/x ↔ a/y"]);
    expect(of("a/x>a/y", "a/y>a/z", "a/z>a/x", "a/w>a/x")).toEqual(["a/x ↔ a/y ↔ a/z"]);
    expect(of("a/b/x>a/c/x", "a/c/y>a/b/y")).toEqual(["a/b ↔ a/c"]);
    expect(of("a/x>a/y", "a/y>b/x", "b/x>c/x")).toEqual([]);
  });
});
