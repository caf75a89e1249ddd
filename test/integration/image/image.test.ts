/** What the built image promises to the code that runs in it, proven in containers with a sandbox's limits. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { builderEnvironment, docker, inspectImage, mustDocker } from "../../../sandbox-image/tools/engine.ts";
import { listEntries } from "../../../sandbox-image/tools/lists.ts";
import { CONTENT_LABEL, contentDigest, IMAGE_TAG } from "../../../sandbox-image/tools/plan.ts";
import { librariesOf } from "../../../sandbox-image/tools/profiles.ts";
import { ROOM } from "../../../sandbox-image/tools/room.ts";
import { sandboxRunArgs, verifyImage, verifyOptions } from "../../../sandbox-image/tools/verify/verify.ts";

/** Or that of a checkout whose image has a tag of its own. */
const IMAGE = process.env.KERNELYARD_IMAGE ?? IMAGE_TAG;

const LIBRARIES = librariesOf("default");

const run = (program: string, ...args: readonly string[]) =>
  docker(sandboxRunArgs(IMAGE, verifyOptions(), { entrypoint: program }, args), { timeoutMs: 60_000 });
const shell = (script: string) => run("/bin/bash", "-c", script);
const python = (code: string) => run("/opt/python/bin/python3", "-c", code);

describe("the sandbox image", () => {
  it("is the one of the present files", async () => {
    const image = await inspectImage(IMAGE);
    expect(image?.labels[CONTENT_LABEL]).toBe(contentDigest("default"));
  });

  it("starts the supervisor as an unprivileged user in the data directory", async () => {
    const config = await mustDocker("inspect", ["image", "inspect", "--format", "{{json .Config}}", IMAGE]);
    expect(JSON.parse(config)).toMatchObject({
      User: "10001:10001",
      WorkingDir: "/mnt/data",
      Entrypoint: ["/opt/python/bin/python3.11", "-I", "-B", "/opt/kernelyard/supervisor"],
    });
    const result = await shell(
      'id -u; id -g; pwd -P; stat -c %U:%G /mnt/data; stat -c %U:%G /mnt/session_data; echo "$LANG"',
    );
    expect(result.stdout.split("\n")).toEqual([
      ...["10001", "10001", "/mnt/data", "sandbox:sandbox", "sandbox:sandbox", "C.UTF-8"],
      "",
    ]);
  });

  it("has the same Python under every name, version 3.11, with its tools", async () => {
    const result = await shell(
      'for name in python python3 pip; do command -v $name; done; python -c "import sys; print(sys.version_info[:2])"; jq --version > /dev/null',
    );
    expect(result.stdout).toBe(
      "/opt/python/bin/python\n/opt/python/bin/python3\n/opt/python/bin/pip\n(3, 11)\n",
    );
    expect(result.code).toBe(0);
  });

  it("has no compiler: its own programs come from another stage of the build", async () => {
    const result = await shell(
      "command -v gcc cc ld; python3 -c 'print(1)'; kernel 1; file -b $(command -v python3 kernel) | cut -d , -f 1,4",
    );
    expect(result.stdout).toBe(
      "1\nELF 64-bit LSB executable, statically linked\nELF 64-bit LSB executable, statically linked\n",
    );
    // No supervisor runs here.
    expect(result.stderr).toContain("kernel: there is no kernel here");
  });

  it("declares its languages with the versions that are in it", async () => {
    const result = await shell("cat /opt/kernelyard/languages.json; bash --version | head -n 1 >&2");
    const table = z
      .array(
        z.strictObject({
          id: z.string(),
          command: z.array(z.string()),
          extension: z.string(),
          version: z.string(),
        }),
      )
      .parse(JSON.parse(result.stdout));
    expect(table.map((language) => language.id)).toEqual(["py", "bash"]);
    expect(table[0]).toMatchObject({ command: [], version: expect.stringMatching(/^3\.11\.\d+$/) });
    expect(result.stderr).toContain(table[1]?.version);
  });

  it("is in its data directory by the name that programs are told", async () => {
    const result = await shell(
      "touch f && python3 -c 'import os, pathlib; print(os.getcwd(), pathlib.Path(\"f\").resolve())'; pwd -P; ls /mnt/data",
    );
    expect(result.stdout).toBe("/mnt/data /mnt/data/f\n/mnt/data\nf\n");
  });

  it("has the small programs that scripts call", async () => {
    const result = await shell(`set -e; cd /mnt/data
      mkdir -p folder/below; seq 3 > folder/below/numbers
      zip -qr folder.zip folder; unzip -l folder.zip | grep -c numbers
      file --brief folder/below/numbers; tree --noreport folder; xxd folder/below/numbers; echo '2 ^ 70' | bc
      less folder/below/numbers; ps -o comm= -p $$
      git init -q . && git add folder && git -c user.name=n -c user.email=n@example.org commit -qm first && git log --format=%s`);
    expect(result.stderr).toBe("");
    expect(result.stdout.split("\n")).toEqual([
      ...["1", "ASCII text", "folder", "└── below", "    └── numbers"],
      ...["00000000: 310a 320a 330a                           1.2.3.", "1180591620717411303424"],
      ...["1", "2", "3", "bash", "first", ""],
    ]);
  });

  it("knows languages and time zones", async () => {
    const result = await python(`
import datetime, locale, subprocess, zoneinfo
day = datetime.datetime(2024, 7, 4, 3, tzinfo=datetime.timezone.utc)
for name in "en_US.UTF-8", "ja_JP.UTF-8", "C.UTF-8":
    locale.setlocale(locale.LC_ALL, name)
    print(day.strftime("%A %x"), locale.currency(1234.5, grouping=True) if name != "C.UTF-8" else locale.format_string("%d", 1234, True))
for zone in "Asia/Tokyo", "America/New_York", "US/Pacific", "Europe/Berlin":
    print(day.astimezone(zoneinfo.ZoneInfo(zone)).isoformat(), subprocess.run(["date", "-d@1720062000", "+%H %Z"], env={"TZ": zone}, capture_output=True, text=True).stdout, end="")
`);
    expect(result.stderr).toBe("");
    expect(result.stdout.split("\n")).toEqual([
      "Thursday 07/04/2024 $1,234.50",
      "木曜日 2024年07月04日 ￥1,234",
      "Thursday 07/04/24 1234",
      "2024-07-04T12:00:00+09:00 12 JST",
      "2024-07-03T23:00:00-04:00 23 EDT",
      "2024-07-03T20:00:00-07:00 20 PDT",
      "2024-07-04T05:00:00+02:00 05 CEST",
      "",
    ]);
  });

  it("lets nobody become somebody else: no setuid or setgid file", async () => {
    // As root, who sees every file; the image's own code does not run.
    const listed = await docker([
      ...["run", "--rm", "--network=none", "--user=0:0", "--entrypoint=find", IMAGE],
      ...["/", "-xdev", "-perm", "/6000", "-type", "f"],
    ]);
    expect(listed).toMatchObject({ code: 0, stdout: "" });
  });

  it("can write to /tmp and the data directory only", async () => {
    const result = await shell(
      "touch /tmp/a /mnt/data/a && for d in / /opt/kernelyard /opt/python /etc /var/tmp /home; do touch $d/a 2>/dev/null && echo $d; done; true",
    );
    expect(result).toMatchObject({ code: 0, stdout: "" });
  });

  it("gives up on pip at once: it does not try again and wait", async () => {
    const result = await shell("pip install requests");
    expect(result).toMatchObject({ code: 1 });
    expect(result.stderr).toContain("No matching distribution found for requests");
    expect(result.stderr).not.toContain("Retrying");
    // As it would without the image's settings.
    expect((await shell("PIP_CONFIG_FILE=/dev/null PIP_RETRIES=1 pip install requests")).stderr).toContain(
      "Retrying",
    );
  });

  it("does not search fonts again in a sandbox", async () => {
    const result = await python(
      "import logging; logging.basicConfig(level='DEBUG'); import matplotlib.font_manager, matplotlib; print(matplotlib.get_cachedir())",
    );
    expect(result.stdout).toBe("/tmp/.matplotlib\n");
    expect(result.stderr).toContain("Using fontManager instance from /tmp/.matplotlib/");
    expect(result.stderr).not.toMatch(/generated new fontManager|temporary cache directory/);
  });

  it("draws Japanese, Chinese and Korean, by default and by the names that other systems have", async () => {
    const result = await python(`
import warnings; warnings.simplefilter("error")
import matplotlib.pyplot as plt
for family in [plt.rcParams["font.family"], "Yu Gothic", "Microsoft YaHei", "PingFang TC", "NanumGothic", "Batang"]:
    plt.rcParams["font.family"] = family
    plt.figure(); plt.title("日本語 简体中文 繁體 한국어"); plt.xlabel("Ω é −1"); plt.savefig("/tmp/f.png"); plt.close()
plt.rcParams["font.family"] = "IPAexGothic"
plt.figure(); plt.title("日本語"); plt.savefig("/tmp/f.png"); plt.close()
print("drawn")
`);
    expect(result).toMatchObject({ code: 0, stdout: "drawn\n", stderr: "" });
  });

  it("keeps numeric libraries to one thread unless code asks for more", async () => {
    const result = await shell('echo "$OMP_NUM_THREADS $OPENBLAS_NUM_THREADS $MPLBACKEND $HOME"');
    expect(result.stdout).toBe("1 1 Agg /tmp\n");
  });

  it("preloads only what is installed", async () => {
    const result = await shell("cat /opt/kernelyard/preload.txt");
    const wanted = readFileSync(join(ROOM, "profiles", "default", "preload.txt"), "utf8");
    expect(listEntries(result.stdout)).toEqual(listEntries(wanted));
  });
});

describe("verification", () => {
  const broken = "kernelyard-test-broken:latest";
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "kernelyard-image-test-"));
    writeFileSync(
      join(directory, "Dockerfile"),
      `FROM ${IMAGE_TAG}\nUSER 0\nRUN rm -r /opt/python/lib/python3.11/site-packages/scipy/optimize\nUSER 10001:10001\n`,
    );
    await mustDocker("build", ["build", "--network=none", "--tag", broken, directory], {
      timeoutMs: 60_000,
      env: await builderEnvironment(),
    });
  });
  afterAll(async () => {
    await docker(["image", "rm", broken]);
    rmSync(directory, { recursive: true, force: true });
  });

  it("accepts the image", async () => {
    const checks = await verifyImage(IMAGE_TAG, verifyOptions(), LIBRARIES);
    expect(checks.map((check) => check.check)).toEqual(
      expect.arrayContaining([
        "threads",
        "processes by spawn",
        "import ipykernel",
        "scipy works",
        "matplotlib works",
      ]),
    );
  });

  it("refuses an image with a broken library, and says which", async () => {
    await expect(verifyImage(broken, verifyOptions(), LIBRARIES)).rejects.toThrow(
      /is refused:\n(.*\n)*- scipy works: /,
    );
  });

  it("refuses what cannot start threads under the profile in force", async () => {
    // What the engine's own profile comes to under gVisor: libc does not fall back, because the refusal is EPERM.
    const seccompProfile = join(directory, "seccomp.json");
    const deny = { names: ["clone3"], action: "SCMP_ACT_ERRNO" };
    writeFileSync(seccompProfile, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [deny] }));
    await expect(verifyImage(IMAGE_TAG, { ...verifyOptions(), seccompProfile }, LIBRARIES)).rejects.toThrow(
      /- threads: (.*\n)*.*can't start new thread/,
    );
  });
});
