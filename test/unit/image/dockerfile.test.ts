import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { describe, expect, it } from "vitest";
import { progressLine } from "../../../sandbox-image/tools/image-build.ts";
import { listEntries } from "../../../sandbox-image/tools/lists.ts";
import { CONTENT_LABEL, DEFAULT_BASE } from "../../../sandbox-image/tools/plan.ts";
import {
  librariesOf,
  profileChain,
  profileFile,
  profileNames,
} from "../../../sandbox-image/tools/profiles.ts";
import { ROOM } from "../../../sandbox-image/tools/room.ts";
import { sandboxRunArgs, verifyOptions } from "../../../sandbox-image/tools/verify/verify.ts";

/** Instructions with their continuation lines joined and comments removed. */
function instructions(file: string): readonly { readonly name: string; readonly text: string }[] {
  const joined = readFileSync(join(ROOM, file), "utf8")
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .join("\n")
    .replaceAll("\\\n", " ");
  return joined
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [name = "", ...rest] = line.trim().split(/\s+/);
      return { name, text: rest.join(" ") };
    });
}

describe("profiles/Dockerfile", () => {
  const all = instructions("profiles/Dockerfile");
  const last = all.slice(all.findLastIndex((step) => step.name === "FROM"));

  it("installs only by hash and as wheels, and leaves the build machine's settings behind", () => {
    const installs = all.filter((step) => step.text.includes("pip install"));
    expect(installs).toHaveLength(1);
    for (const flag of ["--require-hashes", "--no-cache-dir", "--only-binary :all:", "--root /added"])
      expect(installs[0]?.text).toContain(flag);
    for (const step of last) expect(step.text).not.toMatch(/build-machine|PIP_CERT|PIP_CONFIG/);
  });

  it("is not taken for the image that it stands on, at no step: images are found by their content's label", () => {
    const stages = all.flatMap((step, index) => (step.name === "FROM" ? [all[index + 1]] : []));
    expect(stages).toEqual(stages.map(() => ({ name: "LABEL", text: `${CONTENT_LABEL}=` })));
    expect(stages.length).toBeGreaterThan(1);
  });

  it("works with the classic builder, ends as an unprivileged user, and leaves nobody a way to be somebody else", () => {
    for (const step of all) expect(step.text).not.toMatch(/--mount|--link|--chmod|--parents|<<[A-Z]/);
    expect(all.at(-1)).toEqual({ name: "USER", text: "10001:10001" });
    expect(last.find((step) => step.text.includes("apt-get install"))?.text).toContain("chmod a-s");
  });
});

describe("Dockerfile.rce", () => {
  const all = instructions("Dockerfile.rce");
  const texts = (name: string) => all.filter((step) => step.name === name).map((step) => step.text);
  const last = all.slice(all.findLastIndex((step) => step.name === "FROM"));

  it("takes its base as an argument, the specification's by default", () => {
    expect(texts("ARG")[0]).toBe(`BASE_IMAGE=${DEFAULT_BASE}`);
    for (const from of texts("FROM")) expect(from).toMatch(/^\$\{BASE_IMAGE\}( AS \w+)?$/);
  });

  it("installs libraries only by hash and only as wheels", () => {
    const installs = texts("RUN").filter((text) => text.includes("pip install"));
    expect(installs).toHaveLength(1);
    expect(installs[0]).toContain("--require-hashes");
    expect(installs[0]).toContain("--no-cache-dir");
    expect(installs[0]).toContain("--only-binary :all:");
  });

  it("uses nothing that the engine's classic builder lacks", () => {
    for (const step of all)
      expect(step.text).not.toMatch(/--mount|--link|--chmod|--parents|--security|<<[A-Z]/);
  });

  it("keeps the build machine's certificates and package index out of the image", () => {
    for (const step of last) expect(step.text).not.toMatch(/build-machine|PIP_CERT|PIP_INDEX/);
    for (const name of ["ARG", "ENV"]) {
      for (const text of texts(name)) expect(text).not.toMatch(/CERT|INDEX|PROXY/i);
    }
  });

  it("ends as an unprivileged user whose process 1 is the supervisor", () => {
    expect(texts("USER").at(-1)).toBe("10001:10001");
    expect(all.at(-1)?.name).toBe("USER");
    expect(texts("ENTRYPOINT")).toEqual([
      '["/opt/python/bin/python3.11", "-I", "-B", "/opt/kernelyard/supervisor"]',
    ]);
    expect(texts("WORKDIR")).toEqual(["/mnt/data"]);
  });

  it("leaves the compiler in a stage of its own", () => {
    for (const step of last) expect(step.text).not.toMatch(/gcc|libc6-dev/);
    expect(texts("RUN").filter((text) => text.includes("gcc"))).toHaveLength(1);
  });

  it("copies the code after the libraries, so that editing it does not install them again", () => {
    const at = (part: string) => last.findIndex((step) => step.text.includes(part));
    expect(at("--from=libraries")).toBeGreaterThan(0);
    expect(at("supervisor/ ")).toBeGreaterThan(at("--from=libraries"));
    expect(at("supervisor/ ")).toBeGreaterThan(at("fonts.py"));
    expect(at("supervisor/ ")).toBeGreaterThan(at("a-s"));
  });
});

const Languages = z.array(
  z.strictObject({
    id: z.string().regex(/^[a-z0-9]{1,16}$/),
    command: z.array(z.string().min(1)),
    extension: z.string().regex(/^\.[A-Za-z0-9]+$/),
    version_command: z.array(z.string().min(1)).min(1),
  }),
);
const textOf = (profile: string, name: string) => readFileSync(profileFile(profile, name), "utf8");
const languages = (profile: string) => Languages.parse(JSON.parse(textOf(profile, "languages.json")));

const profiles = profileNames();

describe("profiles", () => {
  it.each(profiles.filter((profile) => profile !== "default"))(
    "%s is lists and what proves them",
    (profile) => {
      const there = readdirSync(join(ROOM, "profiles", profile));
      expect(there).toEqual(
        expect.arrayContaining([
          "profile.json",
          "requirements.txt",
          "requirements.lock",
          "debian_packages.txt",
          "smoke",
        ]),
      );
      expect(there).not.toContain("Dockerfile");
    },
  );

  it("stand on each other, the lowest on Python", () => {
    expect(profileChain("default")).toEqual(["default"]);
    expect(profileChain("documents")).toEqual(["default", "analyst", "documents"]);
    expect(() => profileChain("nowhere")).toThrow("no profile `nowhere`; there are: analyst, default,");
  });

  it("offer the libraries of those below them, too", () => {
    expect(librariesOf("default")).toEqual(["pandas", "numpy", "scipy", "matplotlib", "ipykernel"]);
    expect(librariesOf("documents")).toEqual(
      expect.arrayContaining(["pandas", "openpyxl", "scikit-learn", "python-docx"]),
    );
  });

  it.each(profiles)("%s declares its languages once each, with Python as the live kernel", (profile) => {
    const table = languages(profile);
    expect(new Set(table.map((language) => language.id)).size).toBe(table.length);
    expect(table.find((language) => language.id === "py")?.command).toEqual([]);
    for (const language of table) {
      if (language.id === "py") continue;
      expect(language.command[0]).toMatch(/^\//);
      expect(textOf(profile, `smoke/hello${language.extension}`)).not.toBe("");
    }
    const preload = listEntries(textOf(profile, "preload.txt"));
    for (const module of preload) expect(module).toMatch(/^[A-Za-z_][\w.]*$/);
  });

  it("default has Python and bash; polyglot has every language that LibreChat lists", () => {
    expect(languages("default").map((language) => language.id)).toEqual(["py", "bash"]);
    expect(
      languages("polyglot")
        .map((language) => language.id)
        .sort(),
    ).toEqual(["bash", "c", "cpp", "d", "f90", "go", "java", "js", "php", "py", "r", "rs", "ts"]);
  });
});

describe("verification", () => {
  it("runs the image with a sandbox's limits", () => {
    const args = sandboxRunArgs("image", verifyOptions({}), { entrypoint: "/bin/true" }, ["x"]);
    for (const part of [
      "--runtime=runsc",
      "--network=none",
      "--read-only",
      "--memory=536870912",
      "--memory-swap=536870912",
      "--env=KERNELYARD_SANDBOX_MEMORY=536870912",
      "--cap-drop=ALL",
      "--security-opt=no-new-privileges",
      "--security-opt=seccomp=/etc/kernelyard/seccomp.json",
      "--pull=never",
    ]) {
      expect(args).toContain(part);
    }
    expect(args.slice(-2)).toEqual(["image", "x"]);
  });

  it("leaves gVisor out only where the operator has", () => {
    expect(verifyOptions({}).runtime).toBe("runsc");
    expect(verifyOptions({ KERNELYARD_ISOLATION: "runsc" }).runtime).toBe("runsc");
    expect(verifyOptions({ KERNELYARD_ISOLATION: "runc-unsafe" }).runtime).toBe("runc");
  });
});

describe("progress", () => {
  it("is one line per step of either builder", () => {
    expect(progressLine("Step 3/24 : COPY a   b")).toBe("  3/24 COPY a b");
    expect(progressLine("#7 [libraries 2/4] RUN python3 -m venv")).toBe("  2/4 RUN python3 -m venv");
    expect(progressLine("Collecting numpy")).toBeNull();
    expect(progressLine(`Step 1/2 : RUN ${"x".repeat(200)}`)?.length).toBeLessThan(110);
  });
});
