/** `pulumi-resource-docker`: the few resource types that the stacks use, on the real engine, by its command line client. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { stagedContext } from "./context.ts";
import { type Properties, type ResourceHandler, serve } from "./server.ts";

const Engine = z.object({
  host: z.string().optional(),
  sshOpts: z
    .union([z.string().transform((text) => z.array(z.string()).parse(JSON.parse(text))), z.array(z.string())])
    .optional(),
  registryAuth: z
    .union([z.string().transform((text): unknown => JSON.parse(text)), z.array(z.unknown())])
    .pipe(z.array(z.object({ address: z.string(), username: z.string(), password: z.string() })))
    .optional(),
});

interface Ended {
  readonly stdout: string;
}

/** The client with the provider's connection: its own configuration folder, ssh with the provider's options. */
class Client {
  readonly #folder = mkdtempSync(join(tmpdir(), "kernelyard-docker-"));
  readonly #env: NodeJS.ProcessEnv;

  constructor(configuration: Properties) {
    const engine = Engine.parse(configuration);
    const auths = Object.fromEntries(
      (engine.registryAuth ?? []).map(({ address, username, password }) => [
        address,
        { auth: Buffer.from(`${username}:${password}`).toString("base64") },
      ]),
    );
    writeFileSync(join(this.#folder, "config.json"), JSON.stringify({ auths }), { mode: 0o600 });
    // Docker's client starts `ssh` from PATH: ours adds the provider's options, as the real provider does.
    const options = engine.sshOpts ?? [];
    const ssh = join(this.#folder, "ssh");
    const quoted = options.map((option) => `'${option.replaceAll("'", `'\\''`)}'`).join(" ");
    writeFileSync(ssh, `#!/bin/sh\nexec /usr/bin/ssh ${quoted} "$@"\n`, { mode: 0o755 });
    this.#env = {
      ...process.env,
      PATH: `${this.#folder}:${process.env.PATH}`,
      DOCKER_CONFIG: this.#folder,
      DOCKER_BUILDKIT: "0",
      ...(engine.host === undefined ? {} : { DOCKER_HOST: engine.host }),
    };
  }

  login(server: string, username: string, password: string): void {
    const file = join(this.#folder, "config.json");
    const config = z
      .object({ auths: z.record(z.string(), z.unknown()) })
      .parse(JSON.parse(readFileSync(file, "utf8")));
    config.auths[server] = { auth: Buffer.from(`${username}:${password}`).toString("base64") };
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  }

  run(args: readonly string[], allowFailure = false): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const child = spawn("docker", args, { env: this.#env, stdio: ["ignore", "pipe", "pipe"] });
      let stdout = "";
      let stderr = "";
      child.stdout.on("data", (chunk: Buffer) => {
        stdout += chunk.toString();
      });
      child.stderr.on("data", (chunk: Buffer) => {
        stderr = (stderr + chunk.toString()).slice(-8192);
      });
      child.on("error", reject);
      child.on("close", (code) => {
        if (code === 0 || allowFailure) resolve({ stdout });
        else
          reject(new Error(`docker ${args.slice(0, 3).join(" ")}: ${stderr.trim()}\n${stdout.slice(-4096)}`));
      });
    });
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const clients = new Map<string, Client>();
function clientOf(configuration: Properties): Client {
  const key = JSON.stringify(configuration);
  const known = clients.get(key);
  if (known !== undefined) return known;
  const client = new Client(configuration);
  clients.set(key, client);
  return client;
}
process.on("exit", () => {
  for (const client of clients.values()) client.close();
});
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));

const ImageInputs = z.object({
  imageName: z.string(),
  build: z.object({
    context: z.string(),
    dockerfile: z.string(),
    target: z.string().optional(),
    network: z.string().optional(),
    args: z.record(z.string(), z.string()).default({}),
  }),
  registry: z.object({ server: z.string(), username: z.string(), password: z.string() }).optional(),
});

const buildArguments = (args: Readonly<Record<string, string>>) =>
  Object.entries(args).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]);

/** Only the classic builder is here; it knows one name for the list of left-out files, at the context's root. */
async function build(client: Client, inputs: z.output<typeof ImageInputs>): Promise<void> {
  const { build: wanted } = inputs;
  const stage = stagedContext(wanted.context, wanted.dockerfile);
  try {
    await client.run([
      "build",
      // A step that fails leaves no container.
      "--force-rm",
      "--quiet",
      "--network",
      wanted.network ?? "default",
      "--file",
      join(stage.folder, "Dockerfile.staged"),
      ...(wanted.target === undefined ? [] : ["--target", wanted.target]),
      ...buildArguments(wanted.args),
      "--tag",
      inputs.imageName,
      stage.folder,
    ]);
  } finally {
    stage.remove();
  }
}

async function buildAndPush(inputs: Properties, configuration: Properties): Promise<Properties> {
  const parsed = ImageInputs.parse(inputs);
  const client = clientOf(configuration);
  await build(client, parsed);
  if (parsed.registry !== undefined) {
    client.login(parsed.registry.server, parsed.registry.username, parsed.registry.password);
  }
  await client.run(["push", parsed.imageName]);
  const { stdout } = await client.run([
    "image",
    "inspect",
    "--format",
    "{{json .RepoDigests}}",
    parsed.imageName,
  ]);
  const repository = parsed.imageName.replace(/:[^:/]+$/, "");
  const digest = z
    .array(z.string())
    .parse(JSON.parse(stdout))
    .find((name) => name.startsWith(`${repository}@`));
  if (digest === undefined)
    throw new Error(`${parsed.imageName} was pushed, but the engine knows no digest of it`);
  return { repoDigest: digest, baseImageName: parsed.imageName };
}

const image: ResourceHandler = {
  replaceOn: [],
  async create(inputs, { configuration }) {
    return { id: String(inputs.imageName), outputs: await buildAndPush(inputs, configuration) };
  },
  update: (_id, inputs, _old, { configuration }) => buildAndPush(inputs, configuration),
  // The real one leaves what it built, too.
  async delete() {},
};

const RemoteImageInputs = z.object({
  name: z.string(),
  keepLocally: z.boolean().default(false),
  forceRemove: z.boolean().default(false),
  build: z
    .object({
      context: z.string(),
      dockerfile: z.string(),
      networkMode: z.string().optional(),
      buildArgs: z.record(z.string(), z.string()).default({}),
    })
    .optional(),
});

const remoteImage: ResourceHandler = {
  replaceOn: ["name", "build", "triggers"],
  async create(inputs, { configuration }) {
    const parsed = RemoteImageInputs.parse(inputs);
    const client = clientOf(configuration);
    if (parsed.build === undefined) await client.run(["pull", "--quiet", parsed.name]);
    else {
      await client.run([
        "build",
        "--quiet",
        "--network",
        parsed.build.networkMode ?? "default",
        "--file",
        join(parsed.build.context, parsed.build.dockerfile),
        ...buildArguments(parsed.build.buildArgs),
        "--tag",
        parsed.name,
        parsed.build.context,
      ]);
    }
    const { stdout } = await client.run(["image", "inspect", "--format", "{{.Id}}", parsed.name]);
    return {
      id: `${stdout.trim()}${parsed.name}`,
      outputs: { imageId: stdout.trim(), repoDigest: parsed.name },
    };
  },
  async update() {
    return {};
  },
  async delete(_id, state, { configuration }) {
    const parsed = RemoteImageInputs.parse(state);
    if (parsed.keepLocally) return;
    const reference = parsed.forceRemove ? String(state.imageId) : parsed.name;
    await clientOf(configuration).run(
      ["image", "rm", ...(parsed.forceRemove ? ["--force"] : []), reference],
      true,
    );
  },
};

const labels = z.array(z.object({ label: z.string(), value: z.string() })).default([]);
const labelFlags = (given: z.output<typeof labels>) =>
  given.flatMap((l) => ["--label", `${l.label}=${l.value}`]);

const VolumeInputs = z.object({ name: z.string(), labels });
const volume: ResourceHandler = {
  replaceOn: ["*"],
  deleteBeforeReplace: true,
  async create(inputs, { configuration }) {
    const parsed = VolumeInputs.parse(inputs);
    await clientOf(configuration).run(["volume", "create", ...labelFlags(parsed.labels), parsed.name]);
    return { id: parsed.name, outputs: {} };
  },
  async delete(id, _state, { configuration }) {
    await clientOf(configuration).run(["volume", "rm", id]);
  },
};

const NetworkInputs = z.object({
  name: z.string(),
  driver: z.string(),
  options: z.record(z.string(), z.string()).default({}),
  labels,
});
const network: ResourceHandler = {
  replaceOn: ["*"],
  deleteBeforeReplace: true,
  async create(inputs, { configuration }) {
    const parsed = NetworkInputs.parse(inputs);
    const options = Object.entries(parsed.options).flatMap(([name, value]) => ["--opt", `${name}=${value}`]);
    const { stdout } = await clientOf(configuration).run([
      "network",
      "create",
      "--driver",
      parsed.driver,
      ...options,
      ...labelFlags(parsed.labels),
      parsed.name,
    ]);
    return { id: stdout.trim(), outputs: {} };
  },
  async delete(id, _state, { configuration }) {
    await clientOf(configuration).run(["network", "rm", id]);
  },
};

/** Strict: an input that this provider does not carry out must not pass silently. */
const ContainerInputs = z
  .object({
    name: z.string(),
    image: z.string(),
    command: z.array(z.string()).default([]),
    user: z.string().optional(),
    readOnly: z.boolean(),
    init: z.boolean(),
    capabilities: z.object({ adds: z.array(z.string()).default([]), drops: z.array(z.string()).default([]) }),
    securityOpts: z.array(z.string()),
    tmpfs: z.record(z.string(), z.string()),
    ulimits: z.array(z.object({ name: z.string(), soft: z.number(), hard: z.number() })),
    restart: z.string(),
    logDriver: z.string(),
    logOpts: z.record(z.string(), z.string()),
    mustRun: z.boolean(),
    memory: z.number(),
    memorySwap: z.number(),
    cpus: z.string().optional(),
    networkMode: z.string().optional(),
    networksAdvanced: z.array(z.object({ name: z.string() })).default([]),
    deviceCgroupRules: z.array(z.string()).default([]),
    ports: z.array(z.object({ internal: z.number(), external: z.number(), ip: z.string() })).default([]),
    volumes: z
      .array(
        z.object({
          hostPath: z.string().optional(),
          volumeName: z.string().optional(),
          containerPath: z.string(),
          readOnly: z.boolean().default(false),
        }),
      )
      .default([]),
    envs: z.array(z.string()).default([]),
    labels,
    stopTimeout: z.number().optional(),
    stopSignal: z.string().optional(),
    destroyGraceSeconds: z.number().optional(),
    healthcheck: z
      .object({
        tests: z.array(z.string()),
        interval: z.string(),
        timeout: z.string(),
        retries: z.number(),
        startPeriod: z.string(),
      })
      .optional(),
    wait: z.boolean().default(false),
    waitTimeout: z.number().default(60),
  })
  .strict();

function runArguments(c: z.output<typeof ContainerInputs>): string[] {
  const flag = (name: string, values: readonly string[]) => values.flatMap((value) => [`--${name}`, value]);
  const health = c.healthcheck;
  const test =
    health === undefined
      ? ""
      : health.tests[0] === "CMD-SHELL"
        ? (health.tests[1] ?? "")
        : health.tests.slice(1).join(" ");
  return [
    ...flag("name", [c.name]),
    ...(c.user === undefined ? [] : ["--user", c.user]),
    ...(c.readOnly ? ["--read-only"] : []),
    ...(c.init ? ["--init"] : []),
    ...flag("cap-add", c.capabilities.adds),
    ...flag("cap-drop", c.capabilities.drops),
    ...flag("security-opt", c.securityOpts),
    ...flag(
      "tmpfs",
      Object.entries(c.tmpfs).map(([path, options]) => `${path}:${options}`),
    ),
    ...flag(
      "ulimit",
      c.ulimits.map((u) => `${u.name}=${u.soft}:${u.hard}`),
    ),
    ...flag("restart", [c.restart]),
    ...flag("log-driver", [c.logDriver]),
    ...flag(
      "log-opt",
      Object.entries(c.logOpts).map(([name, value]) => `${name}=${value}`),
    ),
    ...flag("memory", [`${c.memory}m`]),
    ...flag("memory-swap", [`${c.memorySwap}m`]),
    ...(c.cpus === undefined ? [] : ["--cpus", c.cpus]),
    ...flag("network", c.networkMode === undefined ? c.networksAdvanced.map((n) => n.name) : [c.networkMode]),
    ...flag("device-cgroup-rule", c.deviceCgroupRules),
    ...flag(
      "publish",
      c.ports.map((p) => `${p.ip}:${p.external}:${p.internal}`),
    ),
    ...flag(
      "volume",
      c.volumes.map((v) => `${v.hostPath ?? v.volumeName}:${v.containerPath}${v.readOnly ? ":ro" : ""}`),
    ),
    ...flag("env", c.envs),
    ...labelFlags(c.labels),
    ...(c.stopTimeout === undefined ? [] : ["--stop-timeout", String(c.stopTimeout)]),
    ...(c.stopSignal === undefined ? [] : ["--stop-signal", c.stopSignal]),
    ...(health === undefined
      ? []
      : [
          "--health-cmd",
          test,
          "--health-interval",
          health.interval,
          "--health-timeout",
          health.timeout,
          "--health-retries",
          String(health.retries),
          ...(health.startPeriod === "0s" ? [] : ["--health-start-period", health.startPeriod]),
        ]),
  ];
}

/** The engine's own events say when the health changes. */
async function untilHealthy(client: Client, id: string, withinSeconds: number): Promise<void> {
  const deadline = Date.now() + withinSeconds * 1000;
  for (;;) {
    const { stdout } = await client.run([
      "inspect",
      "--format",
      "{{.State.Status}} {{.State.Health.Status}}",
      id,
    ]);
    const [state, health] = stdout.trim().split(" ");
    if (health === "healthy") return;
    if (state !== "running" || health === "unhealthy" || Date.now() > deadline) {
      const logs = await client.run(["logs", "--tail", "40", id], true);
      const last = await client.run(["inspect", "--format", "{{json .State}}", id], true);
      await client.run(["rm", "--force", id], true);
      throw new Error(`the container is ${state}, ${health}:\n${logs.stdout}\n${last.stdout.slice(0, 4000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

const container: ResourceHandler = {
  replaceOn: ["*"],
  deleteBeforeReplace: true,
  async create(inputs, { configuration }) {
    const parsed = ContainerInputs.parse(inputs);
    const client = clientOf(configuration);
    const { stdout } = await client.run(["create", ...runArguments(parsed), parsed.image, ...parsed.command]);
    const id = stdout.trim();
    try {
      await client.run(["start", id]);
    } catch (error) {
      await client.run(["rm", "--force", id], true);
      throw error;
    }
    if (parsed.wait) await untilHealthy(client, id, parsed.waitTimeout);
    return { id, outputs: {} };
  },
  async delete(id, state, { configuration }) {
    const grace = typeof state.destroyGraceSeconds === "number" ? state.destroyGraceSeconds : 10;
    const client = clientOf(configuration);
    await client.run(["stop", "--time", String(grace), id], true);
    await client.run(["rm", "--force", "--volumes", id], true);
  },
};

const HANDLERS: Readonly<Record<string, ResourceHandler>> = {
  "docker:index/image:Image": image,
  "docker:index/remoteImage:RemoteImage": remoteImage,
  "docker:index/volume:Volume": volume,
  "docker:index/network:Network": network,
  "docker:index/container:Container": container,
};

serve({
  version: "5.2.0",
  handler(type) {
    const found = HANDLERS[type];
    if (found === undefined) throw new Error(`the test provider does not know ${type}`);
    return found;
  },
});
