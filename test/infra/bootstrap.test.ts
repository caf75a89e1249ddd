/**
 * What user data makes of an AWS host, for real: the rendered files, scripts and units run on a machine of their own
 * until the canary passes and the launch hook is finished; then it drains. Before that a boot that fails says why where
 * somebody will look. Stood in for: systemd and its journal (shims that run the units' own command lines and keep what they
 * say), the AWS command (a recorder), the metadata service, ECR (a registry without a password).
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
import { z } from "zod";
import { newJwtPair } from "../../gateway/common/keys/jwt-pair.ts";
import { parseStackConfig } from "../../infra/config/parse.ts";
import { recipeOf, sandboxLibraries } from "../../infra/parts/image-recipe.ts";
import {
  assignments,
  gatewayEnvironment,
  launcherEnvironment,
  launcherSocket,
} from "../../infra/services/environment.ts";
import { hostFiles } from "../../infra/targets/aws/host-files.ts";
import { hostEnvironment, userData } from "../../infra/targets/aws/user-data.ts";
import { inspectImage } from "../../sandbox-image/tools/engine.ts";
import { buildImage } from "../../sandbox-image/tools/image-build.ts";
import { thisMachine } from "../../sandbox-image/tools/this-machine.ts";
import { freePort } from "../support/free-port.ts";
import { sandboxImage as defaultSandboxImage, SERVICE_BASE } from "./images.ts";
import { Machine, WAIT_FOR_APT } from "./machine.ts";
import { ROOT, SET_UP_WITHIN_MS, sampleOf } from "./stack.ts";

const run = promisify(execFile);
const API_KEY = "ky_bootstrap_test_key_0123456789";
const PORT = 3112;

const SYSTEMCTL = `#!/bin/bash
# Runs units' own command lines, as systemd would. The engine's unit is the machine's.
set -eu
case " $* " in *" docker "* | *" docker.service "*) exec /usr/bin/systemctl "$@" ;; esac
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
  restart) for name in "$@"; do launch "$name"; done ;;
  stop) for name in "$@"; do eval "$(unit "$name" ExecStop)"; done ;;
esac
`;
const JOURNALCTL = `#!/bin/bash
[ "$1" = -u ] || exit 1
tail -n 200 "/var/log/$2.service.log"
`;
const AWS = `#!/bin/bash
echo "$*" >>/var/log/aws-calls
case "$1 $2" in
  "logs put-log-events") cat "\${!#/#file:///}" >>/var/log/sent-events ;;
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
  /** What the instance's first process does. */
  const boot = (userData: string) =>
    there().command(
      `PATH=/usr/local/sbin:$PATH setsid bash ${there().shared}/${userData} >/var/log/user-data.log 2>&1 </dev/null`,
    );
  const calls = () => there().command("cat /var/log/aws-calls 2>/dev/null || true");
  const sessions = async () =>
    Number(await there().command("docker ps -q --filter label=kernelyard.kind=session | wc -l"));
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

  /** Builds and starts; one library does not import. */
  async function withoutPandas(image: string): Promise<string> {
    const name = `kernelyard-test-broken:${process.pid}`;
    images.push(name);
    const context = join(folder, "broken");
    mkdirSync(context);
    const broken = "raise ImportError('planted')";
    writeFileSync(
      join(context, "Dockerfile"),
      `FROM ${image}\nUSER root\nRUN cd /opt/python/lib/python3.11/site-packages/pandas && rm -r __pycache__ && echo "${broken}" >__init__.py\nUSER 10001:10001\n`,
    );
    const env = { ...process.env, DOCKER_BUILDKIT: "0" };
    await run("docker", ["build", "--quiet", "--force-rm", "--tag", name, context], { env });
    return name;
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
      const packages = ["docker-registry", "bzip2"];
      await run("apt-get", [...WAIT_FOR_APT, "install", "-q", "-y", "--no-install-recommends", ...packages], {
        env,
      });
    }
    // A port that is free here and, the machine being empty, there.
    const registryPort = await freePort();
    const registry = `127.0.0.1:${registryPort}`;
    registryProcess(registryPort, (words) => ["env", words]);
    const base = { name: SERVICE_BASE, id: (await inspectImage(SERVICE_BASE))?.id ?? "" };
    const bundle = `kernelyard-test-bundle:${process.pid}`;
    images.push(bundle);
    const recipe = recipeOf(
      { image: "host-bundle", name: bundle, platform: undefined, gvisorUrl: await gvisorRelease() },
      base,
      ROOT,
    );
    await run("docker", ["tag", await buildImage(recipe, thisMachine(), () => {}), bundle]);
    const gatewayImage = await pushed(registry, "gateway", bundle);
    const sandboxImage = await pushed(registry, "custom-rce-kernel", await defaultSandboxImage());
    const brokenImage = await pushed(registry, "broken", await withoutPandas(await defaultSandboxImage()));

    machine = await Machine.start({ empty: ["/usr/local/lib/kernelyard", "/usr/local/sbin"] });
    registryProcess(registryPort, (words) => [
      "nsenter",
      [`--net=/run/netns/${there().namespace}`, ...words],
    ]);
    const metadataPort = await freePort();
    await listen(there().gateway, metadataPort, (url, method) =>
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
    // The sample's, but for files: a bucket is not to be had here.
    const { common } = parseStackConfig("test", sampleOf("aws"));
    const withKey = gatewayEnvironment(common, paths, {
      apiKey: API_KEY,
      jwtPublicKeyPem: newJwtPair().publicKeyPem,
      furtherApiKeys: null,
    });
    const { KERNELYARD_API_KEYS = "", KERNELYARD_JWT_PUBLIC_KEY = "", ...open } = withKey;
    const text = (image: string) =>
      userData({
        host: {
          ...hostEnvironment({
            region: "eu-central-1",
            registry,
            gatewayImage,
            sandboxImage: image,
            secretArn: "arn:test",
            secretVersion: "version-1",
            groupName: "test-hosts",
            logGroup: "/test/hosts",
            port: PORT,
            launcherSocket: launcherSocket(paths),
            libraries: sandboxLibraries(join(ROOT, "sandbox-image"), "default"),
            filesRole: null,
            fleet: null,
          }),
          IMDS: `http://${there().gateway}:${metadataPort}`,
          LOG_FLAGS: "--log-driver=json-file",
          HEARTBEAT: "1",
        },
        launcher: launcherEnvironment(common, paths, image),
        gateway: open,
        files: hostFiles(paths, common, false, null),
        fileBucket: false,
      });
    const put = (name: string, content: string) => writeFileSync(join(there().shared, name), content);
    put("user-data", text(sandboxImage));
    put("user-data-broken", text(brokenImage));
    put("systemctl", SYSTEMCTL);
    put("journalctl", JOURNALCTL);
    put("aws", AWS);
    put("secret", `${assignments({ KERNELYARD_API_KEYS, KERNELYARD_JWT_PUBLIC_KEY }).join("\n")}\n`);
    const { shared } = there();
    await machine.command(
      `cd ${shared} && install -m 755 systemctl journalctl aws /usr/local/sbin/ && install -m 600 secret /etc/kernelyard/test-secret`,
    );
  }, SET_UP_WITHIN_MS);

  afterAll(async () => {
    await machine?.stop();
    for (const child of started) child.kill();
    for (const server of servers) server.close();
    if (images.length > 0) await run("docker", ["image", "rm", ...images]).catch(() => {});
    rmSync(folder, { recursive: true, force: true });
  });

  it("that fails says why in the log group and on the console, and gives the instance up", async () => {
    await boot("user-data-broken");
    await until("the launch hook", 300, async () => (await calls()).includes("--lifecycle-hook-name launch"));
    expect(await calls()).toMatch(
      /complete-lifecycle-action .*--lifecycle-hook-name launch --instance-id i-0123456789 --lifecycle-action-result ABANDON/,
    );
    expect(await calls()).toContain(
      "logs put-log-events --log-group-name /test/hosts --log-stream-name bootstrap/i-0123456789",
    );
    const Events = z.array(z.object({ timestamp: z.number(), message: z.string() }));
    const events = Events.parse(JSON.parse(await there().command("cat /var/log/sent-events")));
    const message = events.map((event) => event.message).join("\n");
    expect(message).toContain("kernelyard: failed at: verification of the sandbox image");
    expect(message).toMatch(/"check": "import pandas", "ok": false.*planted/);
    // What EC2 keeps of an instance that is gone.
    const unit = await there().command("cat /etc/systemd/system/kernelyard-bootstrap.service");
    expect(unit).toMatch(/^StandardOutput=journal\+console$/m);
    // No launcher has seen the image, and no login lies about.
    expect(await there().command("docker ps -aq")).toBe("");
    expect(await there().command("ls -A /root/.docker 2>/dev/null || true")).not.toContain("config.json");
    await there().reboot();
    await there().command("rm -f /var/log/aws-calls /var/log/kernelyard-*");
  });

  it("ends with code that has run in a sandbox, and tells the group", async () => {
    await boot("user-data");
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

  it("drains when the group wants it gone: a running call ends first, and the group is told meanwhile", async () => {
    const before = await sessions();
    const slow = there().command(
      `curl -fsS -m 120 -H 'x-api-key: ${API_KEY}' -H 'content-type: application/json' -d '{"session_id":"drain","code":"import time; time.sleep(12); print(6*9)"}' http://127.0.0.1:${PORT}/run`,
    );
    // The host looks at its state when it likes: the call is to be there before.
    await until("the call's sandbox", 60, async () => (await sessions()) > before);
    lifecycle = "Terminated";
    await until("the terminate hook", 300, async () =>
      (await calls()).includes(
        "complete-lifecycle-action --auto-scaling-group-name test-hosts --lifecycle-hook-name terminate",
      ),
    );
    expect(await slow).toContain("54");
    const said = (await calls())
      .split("\n")
      .filter((line) => line.includes("--lifecycle-hook-name terminate"));
    expect(said.length).toBeGreaterThan(3);
    expect(said.slice(0, -1).every((line) => line.includes("record-lifecycle-action-heartbeat"))).toBe(true);
    expect(await there().command("docker ps --format '{{.Names}}' | grep -c '^kernelyard-' || true")).toBe(
      "0\n",
    );
  });
});
