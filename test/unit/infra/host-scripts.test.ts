/** Scripts that run on a stack's machines, with programs of the test's own in place of the system's that they change. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const TARGETS = join(import.meta.dirname, "../../../infra/targets");

let folder = "";
/** Says in `calls` how it was called, then does what the script says. */
const program = (name: string, script = "") => {
  const path = join(folder, "bin", name);
  writeFileSync(path, `#!/bin/sh\necho "${name} $*" >>${folder}/calls\n${script}\n`);
  chmodSync(path, 0o755);
};
const calls = () => readFileSync(join(folder, "calls"), "utf8").trimEnd().split("\n");
const environment = () => ({ ...process.env, PATH: `${folder}/bin:${process.env.PATH}` });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kernelyard-host-scripts-"));
  mkdirSync(join(folder, "bin"));
  writeFileSync(join(folder, "calls"), "");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("preparing a machine", () => {
  function prepare(operator: string, groups: string): string {
    const sent = join(folder, "sent");
    mkdirSync(sent);
    writeFileSync(join(sent, "install.sh"), `echo "install $*" >>${folder}/calls\n`, { mode: 0o777 });
    const archive = execFileSync("tar", ["-cz", "-C", sent, "install.sh"]);
    program("usermod");
    program("id", `echo "${groups}"`);
    const installed = join(folder, "installed");
    execFileSync("sh", [join(TARGETS, "hosts/prepare.sh")], {
      input: archive,
      env: { ...environment(), FOLDER: installed, OPERATOR: operator },
    });
    return installed;
  }
  const given = () => calls().filter((line) => line.startsWith("usermod"));

  it("lets who deploys use the engine: the Docker provider's connection knows no sudo", () => {
    prepare("deployer", "deployer users docker-admins");
    expect(given()).toEqual(["usermod -aG docker deployer"]);
    expect(calls()).toContain("install --dedicated");
  });

  it("gives nobody a group that they have, and root none", () => {
    prepare("deployer", "deployer docker");
    rmSync(join(folder, "sent"), { recursive: true });
    prepare("root", "root");
    expect(given()).toEqual([]);
  });

  it("leaves nothing there that somebody else than root may write", () => {
    const installed = prepare("deployer", "docker");
    expect(statSync(join(installed, "install.sh")).mode & 0o022).toBe(0);
  });
});

describe("draining an AWS host", () => {
  it("says that it still does for as long as a call runs, and lets the instance go at the end", async () => {
    const common = join(folder, "common.sh");
    const script = join(folder, "drain.sh");
    const original = readFileSync(join(TARGETS, "aws/host/drain.sh"), "utf8");
    writeFileSync(script, original.replace("/usr/local/lib/kernelyard/common.sh", common));
    writeFileSync(
      common,
      readFileSync(join(TARGETS, "aws/host/common.sh"), "utf8").replace(
        "/etc/kernelyard/host.env",
        "host.env",
      ),
    );
    writeFileSync(join(folder, "host.env"), "GROUP=hosts\nHEARTBEAT=0.05\nIMDS=http://imds\n");
    program("curl", `case "$*" in *target-lifecycle-state) echo Terminated ;; *) echo answer ;; esac`);
    program("docker");
    program("aws");
    // The longest call ends when the group has been told three times, however long that takes.
    program(
      "systemctl",
      `case "$*" in *gateway*) until [ ! -e ${folder}/calls ] || [ "$(grep -c record-lifecycle-action-heartbeat ${folder}/calls)" -ge 3 ]; do sleep 0.02; done ;; esac`,
    );
    const child = spawn("bash", [script], { cwd: folder, env: environment(), stdio: "ignore" });
    expect(await once(child, "close")).toEqual([0, null]);
    const said = calls().filter((line) => !line.startsWith("curl"));
    const at = (part: string) => said.findIndex((line) => line.includes(part));
    expect(at("gateway/image/drain.ts")).toBeLessThan(at("stop kernelyard-gateway"));
    expect(at("stop kernelyard-launcher")).toBeGreaterThan(at("stop kernelyard-gateway"));
    expect(said.filter((line) => line.includes("heartbeat")).length).toBeGreaterThanOrEqual(3);
    const last = "complete-lifecycle-action --auto-scaling-group-name hosts --lifecycle-hook-name terminate";
    expect(said.at(-1)).toBe(
      `aws autoscaling ${last} --instance-id answer --lifecycle-action-result CONTINUE`,
    );
  });
});
