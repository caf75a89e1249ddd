/** What the deployment makes of the programs and settings that an operator happens to have: `ssh`, `docker`. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { enginePlace } from "../../../infra/parts/engine-place.ts";
import { recipeOf } from "../../../infra/parts/image-recipe.ts";
import { SERVICE_MACHINE_FOLDER } from "../../../infra/parts/tags.ts";
import { sshProblem } from "../../../infra/targets/hosts/look.ts";
import { builderEnvironment } from "../../../sandbox-image/tools/engine.ts";
import { buildImage } from "../../../sandbox-image/tools/image-build.ts";

let folder: string;
const program = (name: string, script: string) => {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kernelyard-programs-"));
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("ssh", () => {
  it("before 8.5 knows no KnownHostsCommand, and is refused with the remedy", async () => {
    program("ssh", "echo 'OpenSSH_8.4p1 Debian-5, OpenSSL 1.1.1' >&2");
    expect(await sshProblem(folder)).toMatch(/OpenSSH here is 8\.4.*8\.5 has first\. Remedy:/);
    program("ssh", "exit 127");
    expect(await sshProblem(folder)).toMatch(/^no OpenSSH client is on PATH/);
  });

  it("of 8.5 will do, and has a folder for its shared connections", async () => {
    program("ssh", "echo 'OpenSSH_8.5p1, LibreSSL 2.8.3' >&2");
    expect(await sshProblem(folder)).toBeNull();
    expect(existsSync(join(folder, ".ssh"))).toBe(true);
  });
});

describe("docker", () => {
  it("is given the certificates and package settings of the machine, for each image that installs packages", async () => {
    const seen = join(folder, "seen");
    // The context is its last word; the image's id goes where it is told.
    program(
      "docker",
      `for word in "$@"; do case $word in --iidfile=*) echo sha256:made >"\${word#*=}" ;; esac; context=$word; done
case $1 in build) cp -R "$context" ${seen} ;; *) exit 1 ;; esac`,
    );
    const machine = {
      certificates: "-----BEGIN CERTIFICATE-----\n",
      pipConf: "[global]\n",
      npmrc: "registry=x\n",
      proxies: {},
    };
    const base = { name: "base", id: "sha256:base" };
    for (const [image, place] of [
      ["sandbox", "build-machine"],
      ["services", SERVICE_MACHINE_FOLDER],
    ] as const) {
      const recipe = recipeOf({ image, name: "repository:tag" }, base);
      expect(await buildImage(recipe, machine, () => {})).toBe("sha256:made");
      const there = join(seen, place);
      expect(readFileSync(join(there, "ca-certificates.crt"), "utf8")).toBe(machine.certificates);
      expect(readFileSync(join(there, "pip.conf"), "utf8")).toBe(machine.pipConf);
      rmSync(seen, { recursive: true });
    }
  });

  it("builds by the engine's own builder, whichever one is chosen otherwise", async () => {
    program(
      "docker",
      'case "$*" in "buildx version") echo v0.17 ;; "context show") echo default ;; *) exit 1 ;; esac',
    );
    vi.stubEnv("BUILDX_BUILDER", "remote-team-builder");
    expect(await builderEnvironment()).toMatchObject({ DOCKER_BUILDKIT: "1", BUILDX_BUILDER: "default" });
  });

  it("builds for the machine that the deployment names, not for a platform that suits this one", async () => {
    vi.stubEnv("DOCKER_DEFAULT_PLATFORM", "linux/arm64");
    vi.stubEnv("KERNELYARD_DOCKER_SOCKET", "/run/of-npm-start.sock");
    vi.stubEnv("DOCKER_HOST", "unix:///run/operators.sock");
    const place = await enginePlace(null);
    try {
      expect(process.env.DOCKER_DEFAULT_PLATFORM).toBeUndefined();
      expect(process.env.KERNELYARD_DOCKER_SOCKET).toBeUndefined();
      expect(process.env.DOCKER_HOST).toBe("unix:///run/operators.sock");
    } finally {
      place.end();
    }
  });
});
