/** What a build takes from the machine that it runs on, as pip, npm and apt are told there. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  buildMachine,
  type MachineView,
  proxyArguments,
  writeMachineFiles,
} from "../../../sandbox-image/tools/build-machine.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const SYSTEM = "/etc/ssl/certs/ca-certificates.crt";
const INDEX = "https://mirror.example/simple";

const view = (
  files: Readonly<Record<string, string>> = {},
  env: MachineView["env"] = {},
  proxies: Readonly<Record<string, string>> = {},
): MachineView => ({
  env,
  home: "/home/a",
  read: (path) => files[path] ?? null,
  aptProxy: (scheme) => proxies[scheme] ?? null,
});

describe("certificates", () => {
  const of = (files: Readonly<Record<string, string>>, env: MachineView["env"] = {}) =>
    buildMachine(view(files, env)).certificates;

  it("are what pip or npm was told to use, or the system's", () => {
    const own = `${PEM}own`;
    expect(of({ "/own.crt": own, [SYSTEM]: PEM }, { PIP_CERT: "/own.crt" })).toBe(own);
    expect(of({ "/own.crt": own, [SYSTEM]: PEM, "/etc/pip.conf": "[global]\ncert = /own.crt\n" })).toBe(own);
    expect(of({ "/own.crt": own, [SYSTEM]: PEM, "/home/a/.npmrc": 'cafile="/own.crt"\n' })).toBe(own);
    expect(of({ [SYSTEM]: PEM }, { SSL_CERT_FILE: "/gone.crt" })).toBe(PEM);
    expect(of({ "/etc/pki/tls/certs/ca-bundle.crt": PEM }), "Amazon Linux").toBe(PEM);
    expect(of({ [SYSTEM]: "" }), "an empty bundle is none").toBeNull();
    expect(of({})).toBeNull();
  });
});

describe("pip's settings", () => {
  const of = (files: Readonly<Record<string, string>>, env: MachineView["env"] = {}) =>
    buildMachine(view(files, env)).pipConf;

  it("come from the environment, then the user's file, then the machine's", () => {
    const machine = { "/etc/pip.conf": `[global]\nindex-url = ${INDEX}\ntimeout: 60\n` };
    expect(of(machine)).toBe(`[global]\nindex-url = ${INDEX}\ntimeout = 60\n`);
    const user = {
      ...machine,
      "/home/a/.config/pip/pip.conf": "[install]\nindex_url = https://user.example/simple\n",
    };
    expect(of(user)).toContain("index-url = https://user.example/simple\n");
    expect(of(user, { PIP_INDEX_URL: "https://env.example/simple" })).toContain(
      "index-url = https://env.example/simple\n",
    );
    expect(of(machine, { PIP_CONFIG_FILE: "/dev/null" })).toBeNull();
  });

  it("are only the way to packages, with values over several lines and without comments", () => {
    const text = `[global]\n# index-url = no\nextra-index-url =\n    https://a.example\n    https://b.example\nfind-links = /wheels\n[list]\nindex-url = no\n`;
    expect(of({ "/etc/pip.conf": text })).toBe(
      "[global]\nextra-index-url = https://a.example https://b.example\n",
    );
    expect(of({ "/etc/pip.conf": "[global]\nuser = true\n" })).toBeNull();
  });
});

describe("npm's settings", () => {
  const of = (files: Readonly<Record<string, string>>, env: MachineView["env"] = {}) =>
    buildMachine(view(files, env)).npmrc;

  it("are registries and the way to them, with what they ask for", () => {
    // npm fills such places from the environment.
    const token = ["$", "{TOKEN}"].join("");
    const text = `registry=https://npm.example/\n//npm.example/:_authToken=${token}\n@a:registry = https://a.example/\nfund=false\n; a comment=1\n`;
    expect(of({ "/home/a/.npmrc": text }, { TOKEN: "t" })).toBe(
      "registry=https://npm.example/\n//npm.example/:_authToken=t\n@a:registry=https://a.example/\n",
    );
    expect(of({ "/home/a/.npmrc": text }, { npm_config_registry: "https://env.example/" })).toContain(
      "registry=https://env.example/\n",
    );
    expect(of({ "/home/a/.npmrc": "fund=false\n" })).toBeNull();
  });
});

describe("proxies", () => {
  it("are the environment's or apt's, in both spellings, by the names that Docker predefines", () => {
    const machine = buildMachine(
      view({}, { HTTPS_PROXY: "http://p:1", no_proxy: "localhost" }, { http: "http://apt:2" }),
    );
    expect(proxyArguments(machine)).toEqual(
      ["http_proxy=http://apt:2", "https_proxy=http://p:1", "no_proxy=localhost"].flatMap((one) => {
        const [name = "", value = ""] = one.split("=");
        return ["--build-arg", one, "--build-arg", `${name.toUpperCase()}=${value}`];
      }),
    );
    expect(proxyArguments(buildMachine(view({}, {}, { http: "DIRECT" })))).toEqual([]);
  });
});

describe("files for the build", () => {
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-machine-"));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("are there when they say something", () => {
    writeMachineFiles(buildMachine(view({ [SYSTEM]: PEM }, { PIP_INDEX_URL: INDEX })), folder);
    expect(readdirSync(folder).sort()).toEqual(["ca-certificates.crt", "pip.conf"]);
    expect(readFileSync(join(folder, "ca-certificates.crt"), "utf8")).toBe(PEM);
  });
});
