/**
 * `docker`, for a stack whose images go to ECR: the few commands that publishing an image needs, on an engine and a registry
 * that are a file. It builds nothing, and refuses what ECR refuses: a push without the login, and a tag that is there already,
 * whatever it names (aws/containers-roadmap #2179). A command that it does not know fails.
 */
import { createHash } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const folder = process.env.KERNELYARD_TEST_RECORDING ?? "";
const stateFile = `${folder}.docker`;
const breakFile = `${folder}.break`;

const State = z.object({
  /** By id. */
  images: z.record(
    z.string(),
    z.object({
      names: z.array(z.string()),
      labels: z.record(z.string(), z.string()),
      platform: z.string(),
      digests: z.array(z.string()),
    }),
  ),
  /** By name with its tag: the image's id. */
  registry: z.record(z.string(), z.string()),
});
type State = z.output<typeof State>;

const LOCKED_FOR_AT_MOST_MS = 60_000;

/** One command at a time: a stack publishes its images side by side, and an engine loses none of them. */
function lock(): void {
  const path = `${stateFile}.lock`;
  const end = Date.now() + LOCKED_FOR_AT_MOST_MS;
  for (;;) {
    try {
      mkdirSync(path);
      break;
    } catch (error) {
      if (Date.now() > end) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
  process.on("exit", () => rmdirSync(path));
}

lock();
const state: State = existsSync(stateFile)
  ? State.parse(JSON.parse(readFileSync(stateFile, "utf8")))
  : { images: {}, registry: {} };
const keep = () => writeFileSync(stateFile, JSON.stringify(state));

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
const say = (text: string) => process.stdout.write(`${text}\n`);
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const imageOf = (name: string) =>
  Object.entries(state.images).find(([id, image]) => id === name || image.names.includes(name));
const repositoryOf = (name: string) => name.replace(/:[^:/]+$/, "");

const all = process.argv.slice(2);
const configured = all[0] === "--config" ? (all[1] ?? "") : null;
const words = configured === null ? all : all.slice(2);
const [command = "", ...rest] = words;
const flag = (name: string): string | undefined => {
  const at = rest.findIndex((word) => word === name || word.startsWith(`${name}=`));
  const found = rest[at];
  return found?.includes("=") ? found.slice(found.indexOf("=") + 1) : at === -1 ? undefined : rest[at + 1];
};
const flags = (name: string): string[] =>
  rest.flatMap((word, index) => (word === name ? [rest[index + 1] ?? ""] : []));

function requireLogin(name: string): void {
  const config = z
    .object({ auths: z.record(z.string(), z.object({ auth: z.string() })) })
    .parse(JSON.parse(readFileSync(join(configured ?? "/nowhere", "config.json"), "utf8")));
  const auth = config.auths[name.split("/")[0] ?? ""]?.auth ?? "";
  if (Buffer.from(auth, "base64").toString("utf8") !== "AWS:test-token")
    fail(`${name}: no basic auth credentials`);
}

/** What reaches a builder. */
function contextOf(path: string): string {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.includes("build-machine"))
    .sort()
    .map(
      (file) => `${file.slice(path.length)} ${statSync(file).mode & 0o777} ${readFileSync(file, "base64")}`,
    )
    .join("\n");
}

switch (`${command} ${rest[0] ?? ""}`.trim()) {
  case "context inspect":
    say("unix:///var/run/docker.sock");
    break;
  case "buildx version":
    fail("docker: unknown command: docker buildx");
    break;
  case "image ls": {
    const wanted = flags("--filter").map((filter) => filter.replace(/^label=/, ""));
    for (const [id, { labels }] of Object.entries(state.images)) {
      if (wanted.every((one) => labels[one.slice(0, one.indexOf("="))] === one.slice(one.indexOf("=") + 1)))
        say(id);
    }
    break;
  }
  case "image inspect": {
    const name = rest.at(-1) ?? "";
    const found = imageOf(name);
    if (found === undefined) fail(`Error: No such image: ${name}`);
    const [id, image] = found;
    const format = flag("--format");
    if (format === undefined) say(JSON.stringify([{ Id: id, Size: 1, Config: { Labels: image.labels } }]));
    else if (format.includes("Architecture")) say(image.platform);
    else if (format.includes("RepoDigests")) {
      // Once, when a test asks for it.
      if (existsSync(breakFile)) {
        rmSync(breakFile);
        fail("the update broke off here");
      }
      say(image.digests.join("\n"));
    } else fail(`no format ${format}`);
    break;
  }
  default:
    switch (command) {
      case "pull": {
        const name = rest.at(-1) ?? "";
        const isBase = !name.includes("/");
        if (!isBase) requireLogin(name);
        if (!isBase && state.registry[name] === undefined) fail(`manifest for ${name} not found`);
        const id = state.registry[name] ?? `sha256:${sha256(name)}`;
        const image = state.images[id] ?? {
          names: [],
          labels: {},
          platform: flag("--platform") ?? "linux/amd64",
          digests: [],
        };
        const digest = `${repositoryOf(name)}@sha256:${sha256(`manifest ${id}`)}`;
        state.images[id] = {
          ...image,
          names: [...new Set([...image.names, name])],
          digests: [...new Set([...image.digests, digest])],
        };
        keep();
        say(name);
        break;
      }
      case "build": {
        const platform = flag("--platform");
        if (platform === undefined)
          fail("the machines that run it are others: an image without a platform is for this one");
        const context = contextOf(rest.at(-1) ?? "");
        const id = `sha256:${sha256(`${context}${flags("--build-arg").sort().join("\n")}${flag("--target")}`)}`;
        const labels = Object.fromEntries(
          flags("--label").map((label) => [
            label.slice(0, label.indexOf("=")),
            label.slice(label.indexOf("=") + 1),
          ]),
        );
        state.images[id] = { names: [], labels, platform, digests: [] };
        keep();
        appendFileSync(
          folder,
          `${JSON.stringify({ action: "build", type: "image", name: flag("--target") ?? "sandbox", inputs: {} })}\n`,
        );
        writeFileSync(flag("--iidfile") ?? "/dev/null", id);
        break;
      }
      case "tag": {
        const [id = "", name = ""] = rest;
        const image = imageOf(id)?.[1];
        if (image === undefined) fail(`No such image: ${id}`);
        for (const other of Object.values(state.images))
          other.names = other.names.filter((one) => one !== name);
        image.names.push(name);
        keep();
        break;
      }
      case "push": {
        const name = rest.at(-1) ?? "";
        requireLogin(name);
        const found = imageOf(name);
        if (found === undefined) fail(`An image does not exist locally with the tag: ${name}`);
        if (state.registry[name] !== undefined)
          fail(
            `tag invalid: The image tag '${name.split(":").at(-1)}' already exists in the repository and cannot be overwritten because the tag is immutable.`,
          );
        const [id, image] = found;
        state.registry[name] = id;
        image.digests.push(`${repositoryOf(name)}@sha256:${sha256(`manifest ${id}`)}`);
        keep();
        appendFileSync(folder, `${JSON.stringify({ action: "push", type: "image", name, inputs: {} })}\n`);
        break;
      }
      default:
        fail(`docker ${all.join(" ")} is not known here`);
    }
}
