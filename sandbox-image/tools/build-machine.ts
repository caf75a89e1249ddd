/**
 * What an image's build takes from the machine that it runs on: certificates of a network that inspects TLS, where packages
 * come from, proxies. Files for the stages that are thrown away, and Docker's predefined build arguments: neither is in an
 * image, in its history, or in a digest. Pure but for `writeMachineFiles`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface BuildMachine {
  /** PEM; null: the base image's own serve. */
  readonly certificates: string | null;
  /** `pip.conf`, with the index and how to reach it. */
  readonly pipConf: string | null;
  /** `.npmrc`, with the registry and how to reach it. */
  readonly npmrc: string | null;
  /** By the names that Docker predefines; apt, pip, npm and curl all know them. */
  readonly proxies: Readonly<Record<string, string>>;
}

/** How the machine is looked at: its files (null: not there, or not ours to read) and what its programs say. */
export interface MachineView {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Of who builds. */
  readonly home: string;
  readonly read: (path: string) => string | null;
  /** `Acquire::http::Proxy` and the like, from `apt-config`; null: none. */
  readonly aptProxy: (scheme: "http" | "https") => string | null;
}

/** Files that may be read, for who reads them on another machine. */
export const settingsFiles = (
  env: Readonly<Record<string, string | undefined>>,
  home: string,
): readonly string[] => [...certificateFiles(env), ...pipFiles(env, home), ...npmFiles(env, home)];

const given = (path: string | undefined): path is string => path !== undefined && path !== "";

/** Debian's bundle, Amazon Linux' and Fedora's, macOS'. */
const SYSTEM_CERTIFICATES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/cert.pem",
];

const certificateFiles = (env: MachineView["env"]): readonly string[] =>
  [env.PIP_CERT, env.SSL_CERT_FILE, env.NODE_EXTRA_CA_CERTS, ...SYSTEM_CERTIFICATES].filter(given);

/** As pip looks them up, the strongest last. */
const pipFiles = (env: MachineView["env"], home: string): readonly string[] =>
  env.PIP_CONFIG_FILE === "/dev/null"
    ? []
    : [
        "/etc/pip.conf",
        "/etc/xdg/pip/pip.conf",
        `${home}/.pip/pip.conf`,
        `${home}/Library/Application Support/pip/pip.conf`,
        `${env.XDG_CONFIG_HOME ?? `${home}/.config`}/pip/pip.conf`,
        env.PIP_CONFIG_FILE,
      ].filter(given);

/** As npm looks them up, the strongest last; the project's own is part of the build. */
const npmFiles = (env: MachineView["env"], home: string): readonly string[] => [
  "/etc/npmrc",
  env.NPM_CONFIG_USERCONFIG ?? env.npm_config_userconfig ?? `${home}/.npmrc`,
];

/** What concerns the way to packages; `find-links` names folders of this machine. */
const PIP_KEYS = ["index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries"] as const;

/** pip's own reading of its files: sections `global` and `install`, values over several indented lines. */
function pipSettings(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  let section = "";
  let key: string | null = null;
  for (const line of text.split("\n")) {
    const header = /^\[([^\]]+)\]/.exec(line)?.[1];
    const entry = /^([A-Za-z-_]+)\s*[=:]\s*(.*)$/.exec(line);
    if (header !== undefined) {
      section = header.trim();
      key = null;
    } else if (/^\s*[#;]/.test(line)) {
      // A comment.
    } else if (/^\s+\S/.test(line) && key !== null) {
      found.set(key, `${found.get(key) ?? ""} ${line.trim()}`.trim());
    } else if (entry !== null && (section === "global" || section === "install")) {
      key = (entry[1] ?? "").toLowerCase().replaceAll("_", "-");
      found.set(key, (entry[2] ?? "").trim());
    }
  }
  return found;
}

function pipConf(view: MachineView): string | null {
  const files = pipFiles(view.env, view.home).map((path) => pipSettings(view.read(path) ?? ""));
  const lines = PIP_KEYS.flatMap((key) => {
    const named = `PIP_${key.toUpperCase().replaceAll("-", "_")}`;
    // pip's own variable for `timeout` is called otherwise.
    const said = key === "timeout" ? (view.env.PIP_TIMEOUT ?? view.env.PIP_DEFAULT_TIMEOUT) : view.env[named];
    const value = given(said) ? said : files.findLast((file) => given(file.get(key)))?.get(key);
    return given(value) ? [`${key} = ${value}`] : [];
  });
  return lines.length === 0 ? null : `[global]\n${lines.join("\n")}\n`;
}

/** Registries (also of a scope), the way to them, and what they ask for. */
const NPM_KEY =
  /^(registry|@[^:\s]+:registry|\/\/\S+:(_authToken|_auth|username|_password)|proxy|https-proxy|noproxy|strict-ssl)$/;

function npmrc(view: MachineView): string | null {
  const found = new Map<string, string>();
  for (const path of npmFiles(view.env, view.home)) {
    for (const line of (view.read(path) ?? "").split("\n")) {
      const [, key = "", value = ""] = /^\s*([^=;#\s][^=]*?)\s*=\s*"?(.*?)"?\s*$/.exec(line) ?? [];
      const filled = value.replace(/\$\{([^}]+)\}/g, (whole, name: string) => view.env[name] ?? whole);
      if (NPM_KEY.test(key) && filled !== "") found.set(key, filled);
    }
  }
  const registry = view.env.npm_config_registry ?? view.env.NPM_CONFIG_REGISTRY;
  if (given(registry)) found.set("registry", registry);
  if (found.size === 0) return null;
  return `${[...found].map(([key, value]) => `${key}=${value}`).join("\n")}\n`;
}

const PROXY_NAMES = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"] as const;

function proxies(view: MachineView): Record<string, string> {
  const named = PROXY_NAMES.flatMap((name) => {
    const value = view.env[name] ?? view.env[name.toUpperCase()];
    return given(value) ? [[name, value] as const] : [];
  });
  const fromApt = (["http", "https"] as const).flatMap((scheme) => {
    const value = view.aptProxy(scheme) ?? undefined;
    return given(value) && value !== "DIRECT" ? [[`${scheme}_proxy`, value] as const] : [];
  });
  return Object.fromEntries([...fromApt, ...named]);
}

/** The bundles that pip and npm were told to use, then the system's. */
function certificates(view: MachineView): string | null {
  const named = [
    view.env.PIP_CERT,
    ...pipFiles(view.env, view.home).map((path) => pipSettings(view.read(path) ?? "").get("cert")),
    ...npmFiles(view.env, view.home).map(
      (path) => /^\s*cafile\s*=\s*"?(.*?)"?\s*$/m.exec(view.read(path) ?? "")?.[1],
    ),
  ].filter(given);
  const texts = [...named, ...certificateFiles(view.env)].map(view.read);
  return texts.find((text) => text?.includes("BEGIN CERTIFICATE")) ?? null;
}

export function buildMachine(view: MachineView): BuildMachine {
  return {
    certificates: certificates(view),
    pipConf: pipConf(view),
    npmrc: npmrc(view),
    proxies: proxies(view),
  };
}

/** The files that the throw-away stages look for; an image that needs only some ignores the others. */
export function writeMachineFiles(machine: BuildMachine, folder: string): void {
  mkdirSync(folder, { recursive: true });
  const put = (name: string, text: string | null) => {
    if (text !== null) writeFileSync(join(folder, name), text, { mode: 0o600 });
  };
  put("ca-certificates.crt", machine.certificates);
  put("pip.conf", machine.pipConf);
  put("npmrc", machine.npmrc);
}

/** For `docker build`. Both spellings: programs differ in which they read. */
export const proxyArguments = (machine: BuildMachine): readonly string[] =>
  Object.entries(machine.proxies).flatMap(([name, value]) => [
    ...["--build-arg", `${name}=${value}`],
    ...["--build-arg", `${name.toUpperCase()}=${value}`],
  ]);
