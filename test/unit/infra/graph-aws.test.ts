import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { USER_DATA_LIMIT } from "../../../infra/targets/aws/user-data.ts";
import { reveal, SENTINELS } from "./record.ts";
import { describeTarget } from "./target.ts";

describeTarget("aws", (graph) => {
  const userData = () => {
    const template = graph().resources.find((one) => one.type === "aws:ec2/launchTemplate:LaunchTemplate");
    return Buffer.from(String(reveal(template?.inputs.userData)), "base64").toString("utf8");
  };
  const isShell = (text: string) => spawnSync("bash", ["-n"], { input: text, encoding: "utf8" });
  /** The files that user data writes, by path. */
  const files = () =>
    [...userData().matchAll(/^w \d+ (\S+) <<'END-OF-FILE'\n([\s\S]*?)^END-OF-FILE$/gm)].map(
      ([, path, content]) => ({ path: path ?? "", content: content ?? "" }),
    );

  it("user data writes these files and enables these units", () => {
    expect(userData()).toMatchSnapshot();
  });

  it("user data fits, is a shell script, and so are the programs in it", () => {
    expect(Buffer.byteLength(userData())).toBeLessThan(USER_DATA_LIMIT);
    expect(isShell(userData())).toMatchObject({ status: 0, stderr: "" });
    const programs = files().filter((file) => file.path.endsWith(".sh"));
    expect(programs.length).toBe(6);
    for (const program of programs)
      expect(isShell(program.content), program.path).toMatchObject({ status: 0, stderr: "" });
  });

  it("units name programs and files that are there", () => {
    const known = new Set(files().map((file) => file.path));
    for (const unit of files().filter((file) => file.path.endsWith(".service"))) {
      const program = /^ExecStart=(\S+)/m.exec(unit.content)?.[1] ?? "";
      expect(program === "/usr/bin/docker" || known.has(program), `${unit.path}: ${program}`).toBe(true);
      for (const [, file] of unit.content.matchAll(/--env-file=(\/etc\/\S+)/g))
        expect(known.has(file ?? "")).toBe(true);
    }
  });

  it("user data holds no key, not even a hash or a public one", () => {
    for (const word of ["KERNELYARD_API_KEYS", "KERNELYARD_JWT_PUBLIC_KEY", SENTINELS.apiKey, "sentinel"]) {
      expect(userData()).not.toContain(word);
    }
  });
});
