/**
 * `pulumi-resource-docker`: the few resource types that the stacks use, on the real engine, by its command line client. It reads
 * back what the engine says, and compares with that, as the real one does; what no stack asks for it refuses.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
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
      ...(engine.host === undefined ? {} : { DOCKER_HOST: engine.host }),
    };
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

/** Strict: the real one builds on the operator's own engine, whichever the provider's is. No stack asks for it. */
const RemoteImageInputs = z.strictObject({
  name: z.string(),
  keepLocally: z.boolean().default(false),
});
const imageId = async (client: Client, name: string): Promise<string | null> => {
  const { stdout } = await client.run(["image", "inspect", "--format", "{{.Id}}", name], true);
  return stdout.trim() === "" ? null : stdout.trim();
};

const remoteImage: ResourceHandler = {
  replaceOn: ["name"],
  async create(inputs, { configuration }) {
    const parsed = RemoteImageInputs.parse(inputs);
    const client = clientOf(configuration);
    await client.run(["pull", "--quiet", parsed.name]);
    const id = await imageId(client, parsed.name);
    return { id: `${id}${parsed.name}`, outputs: { imageId: id, repoDigest: parsed.name } };
  },
  async update() {
    return {};
  },
  async delete(_id, state, { configuration }) {
    if (state.keepLocally === true) return;
    await clientOf(configuration).run(["image", "rm", String(state.name)], true);
  },
  async read(_id, state, { configuration }) {
    const id = await imageId(clientOf(configuration), String(state.name));
    return id === null ? null : { imageId: id };
  },
};

/** What the engine says of something, or null. */
async function inspected(
  configuration: Properties,
  kind: "container" | "volume" | "network",
  id: string,
): Promise<unknown> {
  const { stdout } = await clientOf(configuration).run([kind, "inspect", id], true);
  const found = stdout.trim() === "" ? [] : z.array(z.unknown()).parse(JSON.parse(stdout));
  return found[0] ?? null;
}

const labels = z.array(z.object({ label: z.string(), value: z.string() })).default([]);
const labelFlags = (given: z.output<typeof labels>) =>
  given.flatMap((l) => ["--label", `${l.label}=${l.value}`]);

const VolumeInputs = z.strictObject({ name: z.string(), labels });
const volume: ResourceHandler = {
  replaceOn: ["*"],
  deleteBeforeReplace: true,
  comparesState: true,
  async create(inputs, { configuration }) {
    const parsed = VolumeInputs.parse(inputs);
    await clientOf(configuration).run(["volume", "create", ...labelFlags(parsed.labels), parsed.name]);
    return { id: parsed.name, outputs: {} };
  },
  async delete(id, _state, { configuration }) {
    await clientOf(configuration).run(["volume", "rm", id]);
  },
  read: async (id, _state, { configuration }) =>
    (await inspected(configuration, "volume", id)) === null ? null : {},
};

/** Some engines set options that nobody asked for. */
const ENGINES_OWN = { "com.docker.network.enable_ipv4": "true" };
const NetworkState = z.object({ Options: z.record(z.string(), z.string()).nullish() });
async function networkState(configuration: Properties, id: string): Promise<Properties | null> {
  const found = await inspected(configuration, "network", id);
  if (found === null) return null;
  return { options: { ...NetworkState.parse(found).Options, ...ENGINES_OWN } };
}

const NetworkInputs = z.strictObject({
  name: z.string(),
  driver: z.string(),
  options: z.record(z.string(), z.string()).default({}),
  labels,
});
const network: ResourceHandler = {
  replaceOn: ["*"],
  deleteBeforeReplace: true,
  comparesState: true,
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
    const id = stdout.trim();
    return { id, outputs: (await networkState(configuration, id)) ?? {} };
  },
  async delete(id, _state, { configuration }) {
    await clientOf(configuration).run(["network", "rm", id]);
  },
  read: (id, _state, { configuration }) => networkState(configuration, id),
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
    // Further ones are joined before it starts: older engines take one at creation.
    ...flag(
      "network",
      c.networkMode === undefined ? c.networksAdvanced.slice(0, 1).map((n) => n.name) : [c.networkMode],
    ),
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

const ContainerState = z.object({
  Name: z.string(),
  Config: z.object({
    User: z.string(),
    StopSignal: z.string().optional(),
    StopTimeout: z.number().optional(),
  }),
  HostConfig: z.object({
    NanoCpus: z.number(),
    Memory: z.number(),
    MemorySwap: z.number(),
    ReadonlyRootfs: z.boolean(),
    Init: z.boolean().nullish(),
    RestartPolicy: z.object({ Name: z.string() }),
    NetworkMode: z.string(),
  }),
});
const MIB = 1024 * 1024;

/** Half a processor is "0.5", a whole one "1.0". */
function decimal(nanoCpus: number): string {
  const text = (nanoCpus / 1e9).toString();
  return text.includes(".") ? text : `${text}.0`;
}

/** What is read back, in the provider's own spelling. */
async function containerState(configuration: Properties, id: string): Promise<Properties | null> {
  const found = await inspected(configuration, "container", id);
  if (found === null) return null;
  const { Name, Config, HostConfig } = ContainerState.parse(found);
  return {
    name: Name.replace(/^\//, ""),
    user: Config.User,
    memory: HostConfig.Memory / MIB,
    memorySwap: HostConfig.MemorySwap / MIB,
    readOnly: HostConfig.ReadonlyRootfs,
    restart: HostConfig.RestartPolicy.Name,
    ...(HostConfig.NanoCpus === 0 ? {} : { cpus: decimal(HostConfig.NanoCpus) }),
    ...(HostConfig.Init === true ? { init: true } : {}),
    ...(Config.StopSignal === undefined ? {} : { stopSignal: Config.StopSignal }),
    ...(Config.StopTimeout === undefined ? {} : { stopTimeout: Config.StopTimeout }),
    ...(HostConfig.NetworkMode === "none" ? { networkMode: "none" } : {}),
  };
}

const container: ResourceHandler = {
  replaceOn: ["*"],
  deleteBeforeReplace: true,
  comparesState: true,
  async create(inputs, { configuration }) {
    const parsed = ContainerInputs.parse(inputs);
    const client = clientOf(configuration);
    const { stdout } = await client.run(["create", ...runArguments(parsed), parsed.image, ...parsed.command]);
    const id = stdout.trim();
    try {
      for (const { name } of parsed.networksAdvanced.slice(1))
        await client.run(["network", "connect", name, id]);
      await client.run(["start", id]);
    } catch (error) {
      await client.run(["rm", "--force", id], true);
      throw error;
    }
    if (parsed.wait) await untilHealthy(client, id, parsed.waitTimeout);
    return { id, outputs: (await containerState(configuration, id)) ?? {} };
  },
  read: (id, _state, { configuration }) => containerState(configuration, id),
  async delete(id, state, { configuration }) {
    const grace = typeof state.destroyGraceSeconds === "number" ? state.destroyGraceSeconds : 10;
    const client = clientOf(configuration);
    await client.run(["stop", "--time", String(grace), id], true);
    await client.run(["rm", "--force", "--volumes", id], true);
  },
};

const HANDLERS: Readonly<Record<string, ResourceHandler>> = {
  "docker:index/remoteImage:RemoteImage": remoteImage,
  "docker:index/volume:Volume": volume,
  "docker:index/network:Network": network,
  "docker:index/container:Container": container,
};

serve({
  version: "5.2.0",
  /** Its native half asks for an engine before anything else, in a preview too; one behind ssh is left for later. */
  async configure(configuration) {
    const { host } = Engine.parse(configuration);
    if (host?.startsWith("ssh://")) return;
    const { stdout } = await clientOf(configuration).run(
      ["version", "--format", "{{.Server.Version}}"],
      true,
    );
    if (stdout.trim() === "") throw new Error("failed to connect to any docker daemon");
  },
  handler(type) {
    const found = HANDLERS[type];
    if (found === undefined) throw new Error(`the test provider does not know ${type}`);
    return found;
  },
});
