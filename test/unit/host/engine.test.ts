/**
 * How install.sh configures an engine that has options on its command line, as Amazon Linux starts it. The script's own words, on an
 * engine and an init system of the test's own that refuse what the real ones refuse; nothing else is replaced.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { RUNTIME_NAME } from "../../../gateway/host/isolation.ts";

const HOST = join(import.meta.dirname, "../../../gateway/host");
const ULIMIT = "--default-ulimit nofile=32768:65536";
const Config = z.looseObject({ runtimes: z.record(z.string(), z.unknown()) });

/** dockerd: a key in both places is a conflict, and it does not start ("specified both as a flag and in the configuration file"). */
const DOCKERD = `#!/usr/bin/python3
import json, os, socketserver, sys
from http.server import BaseHTTPRequestHandler
FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0])))
def config():
    path = FOLDER + "/daemon.json"
    return json.load(open(path)) if os.path.exists(path) else {}
both = [key for flag, key in {"--default-ulimit": "default-ulimits"}.items() if flag in sys.argv and key in config()]
if both:
    sys.exit(f"unable to configure the Docker daemon with file {FOLDER}/daemon.json: the following directives are specified both as a flag and in the configuration file: {both[0]}")
class Engine(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"OK" if self.path == "/_ping" else json.dumps({"Runtimes": config().get("runtimes", {}), "ContainersRunning": 0, "LiveRestoreEnabled": True, "Swarm": {"LocalNodeState": "inactive"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self): return "unix"
    def log_message(self, *_): pass
socket = FOLDER + "/docker.sock"
if os.path.exists(socket): os.unlink(socket)
with socketserver.UnixStreamServer(socket, Engine) as server:
    with open(FOLDER + "/docker.pid", "w") as file: file.write(str(os.getpid()))
    server.serve_forever()
`;

/** The docker package's unit: options in a file of variables, which the distribution fills in. */
const SYSTEMCTL = `#!/bin/bash
cd "$(dirname "$0")/.."
pid() { cat docker.pid 2>/dev/null; }
start() {
  . ./sysconfig
  setsid bin/dockerd -H fd:// $OPTIONS >>dockerd.log 2>&1 </dev/null &
  started=$!
  until [ -S docker.sock ] && [ -s docker.pid ]; do kill -0 "$started" 2>/dev/null || return 1; sleep 0.05; done
}
stop() { local p; p=$(pid) || return 0; kill "$p"; while kill -0 "$p" 2>/dev/null; do sleep 0.05; done; rm -f docker.pid docker.sock; }
case "$*" in
  "cat docker.service" | "is-active --quiet docker") ;;
  "enable --now docker") start ;;
  "restart docker") stop; start ;;
  "stop docker") stop ;;
  "show --property=ExecStart --value docker.service")
    echo '{ path=/usr/bin/dockerd ; argv[]=/usr/bin/dockerd -H fd:// $OPTIONS ; ignore_errors=no ; pid=0 ; status=0/0 }' ;;
  "show --property=EnvironmentFiles --value docker.service") echo "$PWD/sysconfig (ignore_errors=yes)" ;;
  *) echo "systemctl $* is not known here" >&2; exit 1 ;;
esac
`;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kernelyard-engine-"));
  mkdirSync(join(folder, "bin"));
  for (const [name, text] of [
    ["dockerd", DOCKERD],
    ["systemctl", SYSTEMCTL],
  ] as const) {
    writeFileSync(join(folder, "bin", name), text);
    chmodSync(join(folder, "bin", name), 0o755);
  }
  writeFileSync(join(folder, "sysconfig"), `# OPTIONS="--log-driver=none"\nOPTIONS="${ULIMIT}"\n`);
});
afterEach(() => {
  execFileSync(join(folder, "bin/systemctl"), ["stop", "docker"]);
  rmSync(folder, { recursive: true });
});

/** The part of install.sh that configures the engine, for a machine that serves Kernelyard alone. */
function configure(start: 0 | 1) {
  const script = `
set -euo pipefail
. "$HERE/lib/say.sh"
. "$HERE/lib/engine.sh"
has_systemd() { true; }
OWN_ENGINE=1 ENGINE_DIR="" DEDICATED=(--dedicated) ADOPT=() RUNSC=/opt/runsc CHECKPOINT_RUNTIME=/opt/runsc-checkpoint
PYTHON=/usr/bin/python3 CONFIG=$FOLDER/daemon.json SOCKET=$FOLDER/docker.sock PIDFILE=$FOLDER/docker.pid
STAMP=$FOLDER/stamp.json RESTART_MARK=$FOLDER/restart LOG=$FOLDER/dockerd.log
exec 9>"$FOLDER/lock"
configure_engine`;
  const environment = { HERE: HOST, FOLDER: folder, START: String(start) };
  const { status, stdout, stderr } = spawnSync("bash", ["-c", script], {
    encoding: "utf8",
    env: { ...process.env, ...environment, PATH: `${folder}/bin:${process.env.PATH}` },
  });
  return { status, text: stdout + stderr };
}

const config = () => Config.parse(JSON.parse(readFileSync(join(folder, "daemon.json"), "utf8")));
const systemctl = (...words: string[]) => spawnSync(join(folder, "bin/systemctl"), words).status;

test("an engine that has never run keeps the options of its command line, and is hardened beside them", () => {
  const { status, text } = configure(1);
  expect(status, text).toBe(0);
  expect(text).not.toContain("refused");
  expect(config()).toMatchObject({ "no-new-privileges": true, runtimes: { [RUNTIME_NAME]: {} } });
  expect(config()).not.toHaveProperty("default-ulimits");
  expect(existsSync(join(folder, "docker.pid"))).toBe(true);
  // A second run has nothing to do, and the engine starts again at a boot.
  expect(configure(1)).toMatchObject({ status: 0, text: "" });
  expect(systemctl("restart", "docker")).toBe(0);
});

test("one that is not to be started is given nothing that its unit gives it, and starts", () => {
  const { status, text } = configure(0);
  expect(status, text).toBe(0);
  expect(existsSync(join(folder, "docker.pid"))).toBe(false);
  expect(config()).toHaveProperty("icc", false);
  // Only what it does not know of: a line that is a comment is no option.
  expect(config()).toHaveProperty("log-driver");
  expect(config()).not.toHaveProperty("default-ulimits");
  expect(systemctl("enable", "--now", "docker")).toBe(0);
});

test("one without such options gets all of them", () => {
  writeFileSync(join(folder, "sysconfig"), "OPTIONS=\n");
  expect(configure(1).status).toBe(0);
  expect(config()).toHaveProperty("default-ulimits");
});

test("the engine of these tests refuses what the real one refuses", () => {
  writeFileSync(join(folder, "daemon.json"), '{"default-ulimits": {}}');
  expect(systemctl("enable", "--now", "docker")).toBe(1);
  expect(readFileSync(join(folder, "dockerd.log"), "utf8")).toContain("specified both as a flag");
});
