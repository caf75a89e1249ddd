/**
 * `npm start`: makes this machine able to run Kernelyard, starts launcher and gateway, prints how to reach them.
 * Ctrl-C stops both; session volumes and files stay.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gatewayMemory, heapFlags, LAUNCHER_HEAP_FLAGS } from "../../common/gateway-memory.ts";
import { ensureKey, hashedKey, hashedKeySetting, type StoredKey } from "../../common/keys/api-key.ts";
import { ensureJwtKeys, type JwtKeys } from "../../common/keys/jwt-pair.ts";
import { imageOf, profileTable } from "../../common/profiles.ts";
import { DEFAULT_TENANT } from "../../common/protocol/launcher-api.ts";
import { gatewayHealthy, launcherAnswers, launcherHealth, waitFor } from "../../common/protocol/readiness.ts";
import { readSettings, type Settings, SettingsError } from "../../common/settings/read.ts";
import { stopWithinMs } from "../../common/stopping.ts";
import {
  type DataDirectory,
  type Owner,
  prepareDataDirectory,
  UnfinishedRestore,
} from "../../host/data-directory.ts";
import { verificationKey } from "../../server/auth/jwt.ts";
import { announcement } from "./announce.ts";
import { LogFile } from "./log-file.ts";
import { ServiceProcess } from "./service-process.ts";
import { writeSettingsFile } from "./settings-file.ts";

const ROOT = join(import.meta.dirname, "../../..");
/** The user the gateway runs as; `gateway/host/install.sh` creates it. */
const GATEWAY_USER = "kernelyard";
const LAUNCHER_READY_MS = 60_000;
const GATEWAY_READY_MS = 60_000;

/** Something the operator has to do; printed without a stack. */
class StartError extends Error {
  override readonly name = "StartError";
}

/** Folders of lists; whether they are whole is the image build's to say. */
const profileNames = (): readonly string[] =>
  readdirSync(join(ROOT, "sandbox-image/profiles"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();

const say = (line: string) => process.stdout.write(`${line}\n`);

/** Setting up engine and runtime, and dropping privileges, need root: go through sudo where there is one. */
function becomeRoot(): void {
  if (process.getuid?.() === 0) return;
  const ours = Object.keys(process.env).filter((name) => /^(KERNELYARD|OTEL)_/.test(name));
  const sudo = spawnSync(
    "sudo",
    [`--preserve-env=${["PATH", ...ours].join(",")}`, process.execPath, import.meta.filename],
    { stdio: "inherit" },
  );
  if (sudo.error !== undefined) {
    throw new StartError(
      "Kernelyard installs the Docker engine and gVisor and separates its services by user; that needs root.\n" +
        "There is no sudo here: run `npm start` as root.",
    );
  }
  process.exit(sudo.status ?? 1);
}

/** `--profile NAME` is `KERNELYARD_PROFILE=NAME`; sudo hands that on. */
function useProfile(args: readonly string[]): void {
  try {
    const { profile } = parseArgs({ args: [...args], options: { profile: { type: "string" } } }).values;
    if (profile !== undefined) process.env.KERNELYARD_PROFILE = profile;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(
      `${reason}\nUsage: npm start [-- --profile NAME], with one of ${profileNames().join(", ")}.`,
    );
  }
}

/** Beside another one this start would take that one's answers for its own services', which end at once. */
async function mustBeAlone({ dataDir, host, launcherSocket, port }: Settings): Promise<void> {
  if (await launcherAnswers(launcherSocket)) {
    throw new StartError(
      `Kernelyard runs already, with the data in ${dataDir}. Stop it first (Ctrl-C where it was started), or give ` +
        "this one a KERNELYARD_DATA_DIR and a KERNELYARD_PORT of its own.",
    );
  }
  const server = createServer();
  try {
    await once(server.listen(port, host), "listening");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(
      `The gateway could not listen there (${reason}): set KERNELYARD_PORT or KERNELYARD_HOST to what is free here.`,
    );
  }
  server.close();
}

/** Those whose images are built from this checkout; an image by another name is the operator's. */
function profilesToBuild(settings: Settings): readonly string[] {
  const ours = profileTable(settings).filter(({ name, image }) => image === imageOf(name));
  const there = profileNames();
  const unknown = ours.find(({ name }) => !there.includes(name));
  if (unknown === undefined) return ours.map(({ name }) => name);
  throw new StartError(
    `There is no profile ${unknown.name}: sandbox-image/profiles/ has ${there.join(", ")}. ` +
      "Choose one of these, or name an image of your own (KERNELYARD_IMAGE; NAME=IMAGE in KERNELYARD_PROFILES).",
  );
}

/** Runs a set-up step that prints its own progress. */
function step(title: string, program: string, args: readonly string[], env: NodeJS.ProcessEnv): void {
  const result = spawnSync(program, args, { cwd: ROOT, env, stdio: ["ignore", "inherit", "inherit"] });
  if (result.status !== 0) {
    throw new StartError(`${title} did not succeed; the lines above say why. Nothing was started.`);
  }
}

function gatewayOwner(): Owner {
  const id = (flag: string) => {
    const result = spawnSync("id", [flag, GATEWAY_USER], { encoding: "utf8" });
    if (result.status !== 0) {
      throw new StartError(
        `The system user ${GATEWAY_USER} is missing: run gateway/host/install.sh as root.`,
      );
    }
    return Number.parseInt(result.stdout, 10);
  };
  return { uid: id("-u"), gid: id("-g") };
}

/** A directory of root's own further up would only show as a permission error deep in the gateway. */
function checkReachable(path: string, { uid, gid }: Owner): void {
  const as = [`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"];
  if (spawnSync("setpriv", [...as, "test", "-w", path]).status === 0) return;
  throw new StartError(
    `The gateway's user ${GATEWAY_USER} cannot enter ${path}. KERNELYARD_DATA_DIR must lie in directories that ` +
      "everybody may enter: chmod o+x them, or choose another place.",
  );
}

function lastLines(path: string, count: number): string {
  return readFileSync(path, "utf8").trimEnd().split("\n").slice(-count).join("\n");
}

interface Keys {
  /** Null: the operator gave one. */
  readonly operator: StoredKey | null;
  readonly apiKey: StoredKey | null;
  readonly jwt: JwtKeys | null;
}

/** Makes the keys that the configured ways of authentication need and the operator did not give. */
function ensureKeys(settings: Settings, directory: DataDirectory): Keys {
  const wantsKey = settings.auth.includes("api-key") && settings.apiKeys === null;
  const wantsPair =
    settings.auth.includes("jwt") && settings.jwtPublicKey === null && settings.jwtJwksUrl === null;
  return {
    operator: settings.operatorKey === null ? ensureKey(directory.keys, "operator-key") : null,
    apiKey: wantsKey ? ensureKey(directory.keys, "api-key") : null,
    jwt: wantsPair ? ensureJwtKeys(directory.keys) : null,
  };
}

function serviceEnvironment(settings: Settings, keys: Keys): NodeJS.ProcessEnv {
  return {
    ...process.env,
    KERNELYARD_DATA_DIR: settings.dataDir,
    KERNELYARD_LAUNCHER_SOCKET: settings.launcherSocket,
    ...(keys.apiKey === null
      ? {}
      : { KERNELYARD_API_KEYS: hashedKeySetting(DEFAULT_TENANT, keys.apiKey.key) }),
    ...(keys.jwt === null ? {} : { KERNELYARD_JWT_PUBLIC_KEY: keys.jwt.publicKeyPem }),
    ...(keys.operator === null ? {} : { KERNELYARD_OPERATOR_KEY: hashedKey(keys.operator.key) }),
  };
}

/** Of the network that Docker makes unless it is told otherwise. */
function bridgeAddress(): string | null {
  return networkInterfaces().docker0?.find(({ family }) => family === "IPv4")?.address ?? null;
}

async function main(): Promise<void> {
  useProfile(process.argv.slice(2));
  const settings = readSettings(process.env);
  const building = profilesToBuild(settings);
  becomeRoot();
  await mustBeAlone(settings);

  step("Preparing the host", "bash", ["gateway/host/install.sh"], process.env);
  for (const profile of building) {
    const args = ["sandbox-image/tools/build.ts", "--profile", profile];
    step(`Preparing the sandbox image (profile ${profile})`, process.execPath, args, process.env);
  }
  const owner = gatewayOwner();
  const directory = prepareDataDirectory(settings.dataDir, owner);
  checkReachable(directory.gateway, owner);
  writeSettingsFile(directory.root, process.env);
  const keys = ensureKeys(settings, directory);
  const env = serviceEnvironment(settings, keys);

  let ready = false;
  const startFailed = Promise.withResolvers<never>();
  startFailed.promise.catch(() => {});
  const logFile = (name: string) => join(directory.root, `${name}.log`);
  const service = (name: string, command: readonly [string, ...string[]], stopWithinMs: number) =>
    new ServiceProcess({
      name,
      command,
      cwd: ROOT,
      env,
      log: new LogFile(logFile(name)),
      stopWithinMs,
      onRestart: (who, how, delayMs) => {
        if (ready) say(`The ${who} ended (${how}); starting it again in ${delayMs} ms. See ${logFile(who)}.`);
        else
          startFailed.reject(
            new StartError(
              `The ${who} ended (${how}) before it was ready. Its last words, from ${logFile(who)}:\n` +
                lastLines(logFile(who), 5),
            ),
          );
      },
    });
  const launcher = service(
    "launcher",
    [process.execPath, ...LAUNCHER_HEAP_FLAGS, "gateway/launcher/main.ts"],
    30_000,
  );
  // setpriv: no setuid program can give back what the gateway drops.
  const gateway = service(
    "gateway",
    [
      "setpriv",
      "--no-new-privs",
      process.execPath,
      ...heapFlags(gatewayMemory(settings.gatewayMemoryBytes)),
      "gateway/server/main.ts",
      "--user",
      GATEWAY_USER,
    ],
    stopWithinMs(settings.timeoutMaxMs),
  );

  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      const seconds = Math.round(stopWithinMs(settings.timeoutMaxMs) / 1000);
      say(
        `\nStopping: calls finish (at most ${seconds} s; Ctrl-C again ends them now), sessions sleep or end, their files stay.`,
      );
      await gateway.stop();
      await launcher.stop();
    })();
    return stopping;
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      // Asked a second time: nobody wants to wait any more.
      if (stopping !== null) gateway.kill();
      void stop().then(() => process.exit(0));
    });
  }

  try {
    launcher.start();
    const health = await Promise.race([
      waitFor("the launcher", LAUNCHER_READY_MS, () => launcherHealth(settings.launcherSocket)),
      startFailed.promise,
    ]);
    gateway.start();
    await Promise.race([
      waitFor("the gateway's first execution", GATEWAY_READY_MS, () =>
        gatewayHealthy(settings.host, settings.port),
      ),
      startFailed.promise,
    ]);
    ready = true;
    say(
      announcement({
        host: settings.host,
        port: settings.port,
        bridge: bridgeAddress(),
        health,
        profiles: profileNames(),
        apiKey: keys.apiKey,
        jwt: keys.jwt,
        operatorKey: keys.operator,
        console:
          settings.consolePort === 0 ? null : { host: settings.consoleHost, port: settings.consolePort },
        ownKid: settings.jwtPublicKey === null ? null : verificationKey(settings).kid,
        dataDirectory: directory.root,
        auth: settings.auth,
        issuer: settings.jwtIssuer,
        audience: settings.jwtAudience,
        maxLifetimeSeconds: settings.jwtMaxLifetimeS,
      }),
    );
  } catch (error) {
    await stop();
    throw error;
  }
}

try {
  await main();
} catch (error) {
  if (error instanceof StartError || error instanceof SettingsError || error instanceof UnfinishedRestore) {
    process.stderr.write(`\n${error.message}\n`);
  } else {
    process.stderr.write(`\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  }
  process.exit(1);
}
