/**
 * No way out: each probe fails inside the sandbox, and at once: there is no network that it could wait for. The same probe
 * text succeeds where the control is off (a network namespace of this test's own, holding what the probe looks for).
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Stack, startStack } from "../support/stack.ts";

const NAMESPACE = `ky-attack-${process.pid}`;
const METADATA = "169.254.169.254";
/** How long glibc waits for the answer of a name server. */
const RESOLVER_WAITS_S = 5;

/** Each prints REACHED when the outside is there. */
const PROBES = {
  "a socket to the metadata address": `
import socket
socket.create_connection(("${METADATA}", 80), timeout=3).close()
print("REACHED")`,
  "an HTTP request to the metadata address": `
import urllib.request
print(urllib.request.urlopen("http://${METADATA}/latest/meta-data/", timeout=3).read().decode(), "REACHED")`,
  "a UDP query to a resolver": `
import socket
query = bytes.fromhex("abcd01000001000000000000076578616d706c6503636f6d0000010001")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(3)
    s.sendto(query, ("${METADATA}", 53))
    s.recv(512)
print("REACHED")`,
  "an IPv6 connection": `
import socket
socket.create_connection(("fd00:ec2::254", 80), timeout=3).close()
print("REACHED")`,
} as const;

/** What the outside looks like when there is one: HTTP and DNS on the metadata addresses. */
const OUTSIDE = `
import http.server, socket, socketserver, threading
class V6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        data, s = self.request
        s.sendto(data, self.client_address)
class Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ami-id")
    def log_message(self, *a): pass
servers = [http.server.ThreadingHTTPServer(("${METADATA}", 80), Metadata), V6(("fd00:ec2::254", 80), Metadata),
           socketserver.ThreadingUDPServer(("${METADATA}", 53), Echo)]
for s in servers: threading.Thread(target=s.serve_forever, daemon=True).start()
print("listening", flush=True)
import sys; sys.stdin.read()
`;

let stack: Stack;
let outside: ChildProcess;

const inNamespace = (...command: string[]) => ["netns", "exec", NAMESPACE, ...command];

beforeAll(async () => {
  stack = await startStack({ checkpoints: "ready" });
  const ip = (...args: string[]) => execFileSync("ip", args);
  ip("netns", "add", NAMESPACE);
  ip(...inNamespace("ip", "link", "set", "lo", "up"));
  ip(...inNamespace("ip", "addr", "add", `${METADATA}/32`, "dev", "lo"));
  ip(...inNamespace("ip", "-6", "addr", "add", "fd00:ec2::254/128", "dev", "lo", "nodad"));
  outside = spawn("ip", inNamespace("python3", "-c", OUTSIDE), { stdio: ["pipe", "pipe", "inherit"] });
  if (outside.stdout === null) throw new Error("no output to wait for");
  await once(outside.stdout, "data");
});

afterAll(async () => {
  outside?.stdin?.end();
  if (outside?.exitCode === null) await once(outside, "exit");
  execFileSync("ip", ["netns", "delete", NAMESPACE]);
  await stack?.stop();
});

async function run(session_id: string, code: string) {
  const response = await fetch(`${stack.baseUrl}/run`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": stack.apiKey },
    body: JSON.stringify({ session_id, code }),
  });
  expect(response.status).toBe(200);
  return (await response.json()) as { stdout: string; stderr: string; exit_code: number };
}

describe("the network", () => {
  for (const [what, code] of Object.entries(PROBES)) {
    it(`${what} fails inside, without waiting`, async () => {
      const result = await run("attack-network", code);
      expect(result.exit_code).toBe(1);
      expect(result.stdout).not.toContain("REACHED");
      // Not a time-out: the sandbox's kernel knows of no way.
      expect(result.stderr).toContain("Network is unreachable");
    });

    it(`${what} works where there is a network (negative control)`, () => {
      const output = execFileSync("ip", inNamespace("python3", "-c", code), { encoding: "utf8" });
      expect(output).toContain("REACHED");
    });
  }

  it("names do not resolve, and at once", async () => {
    const result = await run(
      "attack-network",
      `import socket, time
took = []
for _ in range(3):
    began = time.monotonic()
    try: socket.getaddrinfo("example.com", 80)
    except socket.gaierror: took.append(time.monotonic() - began)
print(len(took), min(took) < ${RESOLVER_WAITS_S})`,
    );
    // A resolver that waits does so each time; a busy machine does not.
    expect(result.stdout).toBe("3 True\n");
  });

  it("pip install fails without trying again, and says so", async () => {
    const result = await run(
      "attack-network",
      `import subprocess, sys\nr = subprocess.run([sys.executable, "-m", "pip", "install", "requests"], capture_output=True, text=True)\nprint(r.returncode, r.stderr)`,
    );
    expect(result.exit_code).toBe(0);
    expect(result.stdout).toMatch(/^[1-9][\s\S]*No matching distribution found for requests/);
    expect(result.stdout).not.toContain("Retrying");
  });

  it("there is no interface but loopback", async () => {
    const result = await run(
      "attack-network",
      `import socket\nprint([name for _, name in socket.if_nameindex()])`,
    );
    expect(result.stdout.trim()).toBe("['lo']");
  });

  it("programs reach themselves by localhost, in both families, and at no other address of the machine", async () => {
    const result = await run(
      "attack-network",
      `import http.server, socket, threading, urllib.request
class V6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
for kind, host, address in (http.server.ThreadingHTTPServer, "127.0.0.1", "127.0.0.1"), (V6, "::1", "[::1]"):
    server = kind((host, 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(urllib.request.urlopen(f"http://{address}:{server.server_port}/").status, end=" ")
    print(urllib.request.urlopen(f"http://localhost:{server.server_port}/").status)
    server.shutdown(); server.server_close()
print(sorted({info[4][0] for info in socket.getaddrinfo("localhost", 80)}), socket.gethostbyname("localhost"))`,
    );
    expect(result.stdout).toBe("200 200\n200 200\n['127.0.0.1', '::1'] 127.0.0.1\n");
  });

  it("no socket of the host is inside", async () => {
    const result = await run(
      "attack-network",
      `import os\nprint([p for p in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd") if os.path.exists(p)])`,
    );
    expect(result.stdout.trim()).toBe("[]");
  });
});
