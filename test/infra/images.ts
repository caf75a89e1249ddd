/**
 * Bases and contexts for the stacks' images where no image registry can be reached: a Debian with this project's Node,
 * the machine's npm and its certificates, in place of `node:24-bookworm-slim`; the sandbox's own base and context.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ensureDebianBase } from "../../sandbox-image/tools/base/debian.ts";
import { writeContext } from "../../sandbox-image/tools/build.ts";
import { ensureLock } from "../../sandbox-image/tools/lock.ts";
import { ROOT } from "./stack.ts";

const run = promisify(execFile);
const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";
const quiet = () => {};

export const debianBase = (): Promise<string> => ensureDebianBase(quiet);

/** As `node:24-bookworm-slim` would be, made from what is on this machine. */
export async function serviceBase(): Promise<string> {
  const base = await debianBase();
  const node = realpathSync(join(ROOT, "node_modules/node/bin/node"));
  const npm = join((await run("npm", ["root", "-g"])).stdout.trim(), "npm");
  const { stdout: version } = await run(node, ["--version"]);
  const dockerfile = `FROM ${base}
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
ENV NODE_EXTRA_CA_CERTS=${CERTIFICATES}
`;
  const key = createHash("sha256").update(`${version}${dockerfile}`).digest("hex").slice(0, 12);
  const name = `kernelyard-test-node:${key}`;
  const present = await run("docker", ["image", "inspect", name]).then(
    () => true,
    () => false,
  );
  if (present) return name;
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-node-base-"));
  try {
    copyFileSync(node, join(folder, "node"));
    cpSync(npm, join(folder, "npm"), { recursive: true, dereference: true });
    if (existsSync(CERTIFICATES)) copyFileSync(CERTIFICATES, join(folder, "ca-certificates.crt"));
    else writeFileSync(join(folder, "ca-certificates.crt"), "");
    writeFileSync(join(folder, "Dockerfile"), dockerfile);
    await run("docker", ["build", "--quiet", "--network", "host", "--tag", name, folder], {
      env: { ...process.env, DOCKER_BUILDKIT: "0" },
      timeout: 300_000,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return name;
}

/** A copy of the sandbox's build context that a test may edit as an operator would. */
export class SandboxContext {
  readonly folder: string;

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), "kernelyard-sandbox-context-"));
    mkdirSync(this.folder, { recursive: true });
    writeContext("default", this.folder);
  }

  get #list(): string {
    return join(this.folder, "rce_requirements.txt");
  }

  /** One more line in the list, and the lock compiled again. */
  async addLibrary(name: string): Promise<void> {
    appendFileSync(this.#list, `${name}\n`);
    await ensureLock({ list: this.#list, lock: join(this.folder, "rce_requirements.lock") }, quiet);
  }

  /** A step that cannot succeed. */
  breakBuild(): () => void {
    const file = join(this.folder, "Dockerfile.rce");
    const before = readFileSync(file, "utf8");
    writeFileSync(file, before.replace("USER 10001:10001", "RUN exit 7\nUSER 10001:10001"));
    return () => writeFileSync(file, before);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
