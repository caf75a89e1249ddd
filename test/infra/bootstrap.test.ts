/**
 * What user data makes of an AWS host, for real: the rendered files, scripts and units run on a machine of their own
 * until the canary passes and the launch hook is finished; then it drains. Stood in for: systemd (a shim that runs the
 * units' own command lines), the AWS command (a recorder), the metadata service, ECR (a registry without a password).
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CommonConfig } from "../../infra/config/parse.ts";
import {
  assignments,
  gatewayEnvironment,
  launcherEnvironment,
  launcherSocket,
} from "../../infra/services/environment.ts";
import { hostFiles } from "../../infra/targets/aws/host-files.ts";
import { hostEnvironment, userData } from "../../infra/targets/aws/user-data.ts";
import { freePort } from "../support/free-port.ts";
import { serviceBase } from "./images.ts";
import { Machine, WAIT_FOR_APT } from "./machine.ts";
import { stagedContext } from "./providers/context.ts";
import { ROOT, SET_UP_WITHIN_MS } from "./stack.ts";

const run = promisify(execFile);
const API_KEY = "ky_bootstrap_test_key_0123456789";
const PORT = 3112;

const SYSTEMCTL = `#!/bin/bash
# Runs units' own command lines, as systemd would.
set -eu
unit() { sed -n "s/^$2=//p" "/etc/systemd/system/$1"; }
launch() {
  set -a; . /etc/kernelyard/host.env; set +a
  before=$(unit "$1" ExecStartPre); [ -z "$before" ] || eval "\${before#-}" >/dev/null 2>&1 || true
  eval "setsid $(unit "$1" ExecStart)" >>"/var/log/$1.log" 2>&1 </dev/null &
}
action=$1; shift
case $action in
  daemon-reload) ;;
  enable) for name in "$@"; do case $name in *.service) launch "$name" ;; esac; done ;;
  start)
    docker version >/dev/null 2>&1 || { setsid dockerd >>/var/log/dockerd.log 2>&1 </dev/null & }
    until docker version >/dev/null 2>&1; do sleep 0.2; done ;;
  restart) for name in "$@"; do launch "$name"; done ;;
  stop) for name in "$@"; do eval "$(unit "$name" ExecStop)"; done ;;
esac
`;
const AWS = `#!/bin/bash
echo "$*" >>/var/log/aws-calls
case "$1 $2" in
  "ecr get-login-password") echo password ;;
  "secretsmanager get-secret-value") cat /etc/kernelyard/test-secret ;;
esac
`;

describe("the bootstrap of an AWS host", () => {
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-bootstrap-"));
  const started: ChildProcess[] = [];
  const servers: Server[] = [];
  let machine: Machine | undefined;
  let lifecycle = "InService";
  const images: string[] = [];

  const there = (): Machine => {
    if (machine === undefined) throw new Error("the set-up has failed");
    return machine;
  };
  const calls = () => there().command("cat /var/log/aws-calls 2>/dev/null || true");
  async function until(what: string, seconds: number, holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!(await holds())) {
      if (Date.now() > deadline) {
        const logs = await there().command(
          "tail -n 30 /var/log/kernelyard-*.log /var/log/aws-calls 2>/dev/null || true",
        );
        throw new Error(`${what} did not happen within ${seconds} s:\n${logs}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  const listen = (
    host: string,
    port: number,
    answer: (url: string, method: string) => string | Buffer | null,
  ) =>
    new Promise<void>((resolve) => {
      const server = createServer((request, response) => {
        const body = answer(request.url ?? "", request.method ?? "");
        response.statusCode = body === null ? 404 : 200;
        response.end(body ?? "");
      });
      servers.push(server);
      server.listen(port, host, () => resolve());
    });

  /** The release's form: a tarball of runsc and its checksum. */
  async function gvisorRelease(): Promise<string> {
    const { stdout } = await run("docker", ["info", "--format", '{{(index .Runtimes "runsc").Path}}']);
    const release = join(folder, "release");
    mkdirSync(release, { recursive: true });
    copyFileSync(stdout.trim(), join(release, "runsc"));
    await run("tar", ["-cjf", join(folder, "gvisor.tar.bz2"), "-C", release, "."]);
    const archive = readFileSync(join(folder, "gvisor.tar.bz2"));
    const hash = createHash("sha512").update(archive).digest("hex");
    const port = await freePort();
    await listen("127.0.0.1", port, (url) =>
      url === "/gvisor.tar.bz2"
        ? archive
        : url === "/gvisor.tar.bz2.sha512"
          ? `${hash}  gvisor.tar.bz2\n`
          : null,
    );
    return `http://127.0.0.1:${port}`;
  }

  async function pushed(registry: string, name: string, local: string): Promise<string> {
    const target = `${registry}/${name}:test`;
    await run("docker", ["tag", local, target]);
    images.push(target);
    await run("docker", ["push", "--quiet", target], { timeout: 300_000 });
    const { stdout } = await run("docker", [
      "image",
      "inspect",
      "--format",
      '{{join .RepoDigests "\\n"}}',
      target,
    ]);
    return stdout.split("\n").find((line) => line.startsWith(`${registry}/${name}@`)) ?? "";
  }

  function registryProcess(port: number, inside: (args: string[]) => [string, string[]]): void {
    const config = join(folder, `registry-${started.length}.yml`);
    writeFileSync(
      config,
      `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${folder}/registry}}\nhttp: {addr: "127.0.0.1:${port}"}\n`,
    );
    const [program, args] = inside(["docker-registry", "serve", config]);
    started.push(spawn(program, args, { stdio: "ignore" }));
  }

  beforeAll(async () => {
    if (!existsSync("/usr/bin/docker-registry")) {
      const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
      await run(
        "apt-get",
        [...WAIT_FOR_APT, "install", "-q", "-y", "--no-install-recommends", "docker-registry", "bzip2"],
        {
          env,
        },
      );
    }
    // A port that is free here and, the machine being empty, there.
    const registryPort = await freePort();
    const registry = `127.0.0.1:${registryPort}`;
    registryProcess(registryPort, (words) => ["env", words]);
    const context = stagedContext(ROOT, join(ROOT, "gateway/image/Dockerfile"));
    const bundle = `kernelyard-test-bundle:${process.pid}`;
    images.push(bundle);
    await run(
      "docker",
      [
        ...["build", "--quiet", "--network", "host", "--target", "host-bundle", "--tag", bundle],
        ...[
          "--build-arg",
          `BASE_IMAGE=${await serviceBase()}`,
          "--build-arg",
          `GVISOR_URL=${await gvisorRelease()}`,
        ],
        ...["--file", join(context.folder, "Dockerfile.staged"), context.folder],
      ],
      { env: { ...process.env, DOCKER_BUILDKIT: "0" }, timeout: 600_000, maxBuffer: 64 * 1024 * 1024 },
    ).finally(() => context.remove());
    const gatewayImage = await pushed(registry, "gateway", bundle);
    const sandboxImage = await pushed(registry, "custom-rce-kernel", "custom-rce-kernel:latest");

    machine = await Machine.start(["/etc/systemd/system", "/usr/local/lib/kernelyard", "/usr/local/sbin"]);
    registryProcess(registryPort, (words) => [
      "nsenter",
      [`--net=/run/netns/${there().namespace}`, ...words],
    ]);
    const metadataPort = await freePort();
    await listen(machine.gateway, metadataPort, (url, method) =>
      method === "PUT"
        ? "token"
        : url.endsWith("/instance-id")
          ? "i-0123456789"
          : url.endsWith("/target-lifecycle-state")
            ? lifecycle
            : null,
    );

    const paths = {
      data: `/var/lib/kernelyard-bootstrap-${process.pid}`,
      dockerSocket: "/var/run/docker.sock",
    };
    const common: CommonConfig = {
      port: PORT,
      isolation: "runsc",
      auth: ["api-key"],
      keyRotation: "1",
      settings: { KERNELYARD_MEMORY_BUDGET: "2g", KERNELYARD_POOL_SIZE: "1", KERNELYARD_SESSION_DISK: "64m" },
      sandboxContext: "",
      sandboxBaseImage: "",
      serviceBaseImage: "",
      protectData: true,
    };
    const withKey = gatewayEnvironment(common, paths, {
      apiKey: API_KEY,
      jwtPublicKeyPem: "",
      furtherApiKeys: null,
    });
    const { KERNELYARD_API_KEYS: keys = "", ...open } = withKey;
    const text = userData({
      host: {
        ...hostEnvironment({
          region: "eu-central-1",
          registry,
          gatewayImage,
          sandboxImage,
          secretArn: "arn:test",
          secretVersion: "version-1",
          groupName: "test-hosts",
          logGroup: "/test/hosts",
          port: PORT,
          launcherSocket: launcherSocket(paths),
          filesRole: null,
        }),
        IMDS: `http://${machine.gateway}:${metadataPort}`,
        LOG_FLAGS: "--log-driver=json-file",
      },
      launcher: launcherEnvironment(common, paths, sandboxImage),
      gateway: open,
      files: hostFiles(paths, PORT, 30_000, false),
      fileBucket: false,
    });
    writeFileSync(join(folder, "user-data"), text);
    writeFileSync(join(folder, "systemctl"), SYSTEMCTL);
    writeFileSync(join(folder, "aws"), AWS);
    writeFileSync(join(folder, "secret"), `${assignments({ KERNELYARD_API_KEYS: keys }).join("\n")}\n`);
    await machine.command(
      `install -m 755 ${folder}/systemctl ${folder}/aws /usr/local/sbin/ && install -m 600 ${folder}/secret /etc/kernelyard/test-secret`,
    );
  }, SET_UP_WITHIN_MS);

  afterAll(async () => {
    await machine?.command(`rm -rf /var/lib/kernelyard-bootstrap-${process.pid}`).catch(() => {});
    await machine?.stop();
    for (const child of started) child.kill();
    for (const server of servers) server.close();
    if (images.length > 0) await run("docker", ["image", "rm", ...images]).catch(() => {});
    rmSync(folder, { recursive: true, force: true });
  });

  it("ends with code that has run in a sandbox, and tells the group", async () => {
    await there().command(
      `PATH=/usr/local/sbin:$PATH setsid bash ${folder}/user-data >/var/log/user-data.log 2>&1 </dev/null`,
    );
    await until("the launch hook", 300, async () => (await calls()).includes("--lifecycle-hook-name launch"));
    expect(await calls()).toMatch(
      /complete-lifecycle-action .*--instance-id i-0123456789 --lifecycle-action-result CONTINUE/,
    );
    const answer = await there().command(
      `curl -fsS -m 60 -H 'x-api-key: ${API_KEY}' -H 'content-type: application/json' -d '{"session_id":"boot","code":"print(6*7)"}' http://127.0.0.1:${PORT}/run`,
    );
    expect(answer).toContain("42");
    expect(await there().command("docker info --format '{{json .Runtimes}}'")).toContain(
      "gvisor/bundle/runsc",
    );
  });

  it("sends its numbers", async () => {
    await there().command("PATH=/usr/local/sbin:$PATH /usr/local/lib/kernelyard/metrics.sh");
    const sent = await calls();
    expect(sent).toContain("--metric-name CanaryFailed --value 0");
    expect(sent).toMatch(/--metric-name SlotsFree --value \d+/);
    expect(sent).toMatch(/--metric-name DiskUsed --value \d+/);
  });

  it("drains when the group wants it gone", async () => {
    lifecycle = "Terminated";
    await until("the terminate hook", 300, async () =>
      (await calls()).includes("--lifecycle-hook-name terminate"),
    );
    expect(await there().command("docker ps --format '{{.Names}}' | grep -c '^kernelyard-' || true")).toBe(
      "0\n",
    );
  });
});
