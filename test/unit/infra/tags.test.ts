/** What ships decides an image's tag, and nothing else does: tried on a copy of the project, file by file. */
import { appendFileSync, cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, matchesGlob, normalize, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HOST_FILES } from "../../../gateway/host/isolation.ts";
import { SERVICE_GID, SERVICE_UID } from "../../../gateway/host/users.ts";
import { REGISTRY_UID } from "../../../infra/parts/registry.ts";
import {
  PACKAGE_FOLDERS,
  packageTag,
  SERVICE_DOCKERFILE,
  SERVICE_MACHINE_FOLDER,
  sandboxTag,
  serviceFiles,
  serviceTag,
} from "../../../infra/parts/tags.ts";
import { ENTRY_UID } from "../../../infra/targets/hosts/entry.ts";
import { VALKEY_UID } from "../../../infra/targets/hosts/valkey.ts";
import { listedFiles } from "../../../sandbox-image/tools/build-context.ts";
import { contextFiles, SANDBOX_DOCKERFILE } from "../../../sandbox-image/tools/plan.ts";

const ROOT = join(import.meta.dirname, "../../..");

describe("image tags", () => {
  let project = "";
  beforeAll(() => {
    project = mkdtempSync(join(tmpdir(), "kernelyard-tags-"));
    const rooms = ["gateway", "infra", "sandbox-image", "policies", "docs"];
    for (const entry of [...rooms, "package.json", "package-lock.json", ".npmrc", "README.md"])
      cpSync(join(ROOT, entry), join(project, entry), { recursive: true });
  });
  afterAll(() => rmSync(project, { recursive: true, force: true }));

  const tags = () => ({
    service: serviceTag(project, "services", ["base"]),
    bundle: serviceTag(project, "host-bundle", ["base"]),
    sandbox: sandboxTag(join(project, "sandbox-image"), "default", ["base"]),
    registry: packageTag(project, "registry", ["base"]),
    valkey: packageTag(project, "valkey", ["base"]),
    entry: packageTag(project, "entry", ["base"]),
  });
  /** Names of the images that get a new tag by an edit of the files. */
  function changedBy(...files: readonly string[]): string[] {
    const before = tags();
    for (const file of files) {
      const path = join(project, file);
      expect(existsSync(path), file).toBe(true);
      appendFileSync(path, "\n");
    }
    const after = tags();
    return Object.entries(before)
      .filter(([name, tag]) => !Object.entries(after).some(([n, t]) => n === name && t === tag))
      .map(([name]) => name);
  }

  it("every file under infra/ changes none", () => {
    const files = globSync("infra/**", { cwd: project, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(project, join(entry.parentPath, entry.name)));
    expect(files.length).toBeGreaterThan(40);
    expect(changedBy(...files)).toEqual([]);
  });

  it.each([
    "README.md",
    "docs/deploy.md",
    "gateway/cli/start/main.ts",
    "gateway/host/seccomp/derive.ts",
    "policies/index.ts",
    "sandbox-image/README.md",
    "sandbox-image/dev_requirements.txt",
    "sandbox-image/profiles/polyglot/languages.json",
    "sandbox-image/tools/build.ts",
    "sandbox-image/tools/plan.ts",
    "sandbox-image/tools/verify/verify.ts",
    "sandbox-image/tools/base/debian.ts",
    "sandbox-image/build-machine/README.md",
    "gateway/image/build-machine/README.md",
    "gateway/image/Dockerfile.dockerignore",
  ])("%s changes none", (file) => expect(changedBy(file)).toEqual([]));

  it.each([
    ".npmrc",
    "package.json",
    "package-lock.json",
    "gateway/common/ids.ts",
    "gateway/host/seccomp/profile.json",
    "gateway/image/Dockerfile",
    "gateway/image/healthy.ts",
    "gateway/launcher/main.ts",
    "gateway/server/main.ts",
  ])("%s changes the services' alone", (file) => expect(changedBy(file)).toEqual(["service", "bundle"]));

  it.each([
    "gateway/host/install.sh",
    "gateway/host/daemon_config.py",
    "gateway/image/from-bundle.sh",
    "sandbox-image/tools/verify/smoke.py",
  ])("%s changes only what hosts without internet get", (file) =>
    expect(changedBy(file)).toEqual(["bundle"]),
  );

  it.each(["Dockerfile.rce", "rce_requirements.lock", "kernel/shell.py", "profiles/default/preload.txt"])(
    "sandbox-image/%s changes the sandbox's alone",
    (file) => expect(changedBy(`sandbox-image/${file}`)).toEqual(["sandbox"]),
  );

  it.each([
    ["registry", "Dockerfile"],
    ["registry", "config.yml"],
    ["valkey", "Dockerfile"],
    ["valkey", "valkey.conf"],
    ["entry", "Dockerfile"],
  ] as const)("of the %s: its %s changes that alone", (image, file) =>
    expect(changedBy(join(PACKAGE_FOLDERS[image], file))).toEqual([image]),
  );

  it("follow the bases", () => {
    expect(serviceTag(project, "services", ["other"])).not.toBe(tags().service);
    expect(packageTag(project, "registry", ["other"])).not.toBe(tags().registry);
    expect(sandboxTag(join(project, "sandbox-image"), "default", ["other"])).not.toBe(tags().sandbox);
  });

  it("of a profile follow its own lists and all that is below it, and no other's", () => {
    const room = join(project, "sandbox-image");
    const documents = () => sandboxTag(room, "documents", ["base"]);
    const changes = (file: string) => {
      const before = documents();
      appendFileSync(join(room, file), "\n");
      return documents() !== before;
    };
    expect(documents()).not.toBe(sandboxTag(room, "documents", ["other"]));
    for (const file of [
      "profiles/Dockerfile",
      "profiles/documents/debian_packages.txt",
      "profiles/analyst/requirements.lock",
      "profiles/default/preload.txt",
      "kernel/shell.py",
    ])
      expect(changes(file), file).toBe(true);
    expect(changes("profiles/polyglot/languages.json")).toBe(false);
  });
});

/** Sources that a stage copies out of the context. */
const copied = (stage: string) =>
  [...stage.matchAll(/^COPY (?!--)(.+)$/gm)].flatMap(([, words]) =>
    (words ?? "")
      .split(" ")
      .slice(0, -1)
      .map((source) => source.replace(/\/$/, "")),
  );
const covers = (source: string) => (file: string) =>
  file === source || file.startsWith(`${source}/`) || matchesGlob(file, source);

it("the sandbox's image copies nothing that its list leaves out, and lists nothing that it does not copy", () => {
  const recipe = readFileSync(join(ROOT, "sandbox-image", SANDBOX_DOCKERFILE), "utf8");
  // What the building machine adds is on the list and in no digest.
  const sources = copied(recipe.replace(/\$\{PROFILE\}/g, "default")).filter(
    (one) => one !== "build-machine",
  );
  const listed = contextFiles("default").filter((file) => file !== SANDBOX_DOCKERFILE);
  expect(sources.filter((source) => !listed.some(covers(source)))).toEqual([]);
  expect(listed.filter((file) => !sources.some((source) => covers(source)(file)))).toEqual([]);
});

describe("the services' image", () => {
  const stages = readFileSync(join(ROOT, SERVICE_DOCKERFILE), "utf8").split(/^FROM /m);
  const listed = serviceFiles(ROOT, "host-bundle");

  it("copies nothing that its list leaves out, and lists nothing that it does not copy", () => {
    const list = listedFiles(ROOT, join(ROOT, `${SERVICE_DOCKERFILE}.dockerignore`));
    const sources = stages.flatMap(copied);
    expect(sources.filter((source) => !list.some(covers(source)))).toEqual([]);
    expect(list.filter((file) => !sources.some((source) => covers(source)(file)))).toEqual([]);
    const machine = (file: string) => file.startsWith(`${SERVICE_MACHINE_FOLDER}/`);
    expect(listed).toEqual(list.filter((file) => !machine(file)));
    expect(serviceFiles(ROOT, "services").filter((file) => !listed.includes(file))).toEqual([]);
  });

  it("runs as the user that owns the gateway's files, and packages each as its own", () => {
    const user = stages.flatMap((stage) => /^USER (\S+)$/m.exec(stage)?.[1] ?? []);
    expect(user).toEqual([`${SERVICE_UID}:${SERVICE_GID}`]);
    for (const [image, uid] of [
      ["registry", REGISTRY_UID],
      ["valkey", VALKEY_UID],
      ["entry", ENTRY_UID],
    ] as const) {
      const recipe = readFileSync(join(ROOT, PACKAGE_FOLDERS[image], "Dockerfile"), "utf8");
      expect(recipe).toMatch(new RegExp(`^USER ${uid}:${uid}$`, "m"));
    }
  });

  it("gives a host the host's files, what starts them, and no other", () => {
    const bundle = stages.find((stage) => stage.includes(" AS host-bundle")) ?? "";
    const files = listed.filter((file) => copied(bundle).some((source) => covers(source)(file)));
    expect(files).toEqual(
      [
        ...HOST_FILES.map((file) => `gateway/host/${file}`),
        "gateway/image/from-bundle.sh",
        "sandbox-image/tools/verify/smoke.py",
      ].sort(),
    );
  });

  it("holds all that its programs import", () => {
    const services = stages.find((stage) => stage.includes(" AS services")) ?? "";
    const there = new Set(listed.filter((file) => copied(services).some((source) => covers(source)(file))));
    const seen = new Set<string>();
    const follow = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      expect(there.has(file), file).toBe(true);
      const text = readFileSync(join(ROOT, file), "utf8");
      for (const [, target] of text.matchAll(/(?:from|import\(|import) ?"(\.[^"]+)"/g))
        follow(normalize(join(dirname(file), target ?? "")));
    };
    for (const program of ["server/main.ts", "image/launcher-entry.ts", "image/healthy.ts"])
      follow(`gateway/${program}`);
    expect(seen.size).toBeGreaterThan(50);
  });
});
