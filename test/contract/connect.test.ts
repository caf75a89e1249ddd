/** README's "Connect LibreChat", followed to the letter: with what `npm start` prints and nothing else. */
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { readDocument } from "../support/documents.ts";
import { callTool, loadAgents, loadOldAgents } from "../support/librechat/clients.ts";
import { parseEnvironment, TokenSigner } from "../support/librechat/tokens.ts";
import { StartPlace } from "../support/npm-start.ts";
import { ALICE } from "./support/service.ts";

const readme = readDocument("README.md");
const section = readme.slice(readme.indexOf("## Connect LibreChat"), readme.indexOf("## Deploy"));

/** What LibreChat reads its configuration with. */
const DataProvider = z.object({
  configSchema: z.custom<{
    safeParse(value: unknown): { success: boolean; error?: unknown; data?: unknown };
  }>((value) => typeof value === "object" && value !== null && "safeParse" in value),
  defaultAgentCapabilities: z.array(z.string()),
});
const loadDataProvider = () =>
  DataProvider.parse(
    createRequire(join(import.meta.dirname, "fixtures/gen2/package.json"))("librechat-data-provider"),
  );

/** The lines between two of what was printed, as they are to be pasted. */
function block(printed: string, after: string): string {
  const from = printed.indexOf(after);
  if (from < 0) throw new Error(`"${after}" is not in:\n${printed}`);
  const lines = /^\n(?:(?: {2}.*)?\n)+/m.exec(printed.slice(from))?.[0] ?? "";
  return lines.replaceAll(/^ {2}/gm, "").trim();
}
const dotEnv = (printed: string) => block(printed, "Paste into LibreChat's .env:");

let place: StartPlace;
beforeAll(async () => {
  place = await StartPlace.make();
});
afterAll(() => place?.remove());

/** As LibreChat is with this environment. */
function librechat(environment: ReadonlyMap<string, string>) {
  const signer = TokenSigner.fromEnvironment(environment);
  const tool = (name: string, more: object) =>
    loadAgents().createBashExecutionTool({
      baseUrl: environment.get(name),
      authHeaders: async () => signer.headers(ALICE),
      ...more,
    });
  const stateful = {
    statefulSessions: true,
    executionProfile: "stateful",
    runtimeSessionHint: "v3:0123456789ab:conversation:0123456789abcdef0123456789abcdef",
  };
  const run = (which: ReturnType<typeof tool>) => (command: string) =>
    callTool(which, "bash_tool", { command });
  return {
    headers: () => signer.headers(ALICE),
    bash: run(tool("LIBRECHAT_CODE_BASEURL", { executionProfile: "default" })),
    session: run(tool("LIBRECHAT_CODE_BASEURL_STATEFUL", stateful)),
  };
}

/** From a container with the one entry that LibreChat's compose file has; `program` is Python. */
function inContainer(program: string, env: Readonly<Record<string, string>>): string {
  const variables = Object.entries(env).flatMap(([name, value]) => ["--env", `${name}=${value}`]);
  const image = "custom-rce-kernel:latest";
  const hosts = ["--add-host", "host.docker.internal:host-gateway"];
  const args = ["run", "--rm", "--runtime", "runc", ...hosts, ...variables, "--entrypoint", "python3", image];
  return execFileSync("docker", [...args, "-c", program], { encoding: "utf8", stdio: "pipe" });
}

const EXEC = `
import json, os, urllib.request
request = urllib.request.Request(
    os.environ["BASE"] + "/exec",
    json.dumps({"lang": "bash", "code": "echo from a container"}).encode(),
    {"Content-Type": "application/json", "Authorization": os.environ["AUTHORIZATION"]},
)
print(json.load(urllib.request.urlopen(request, timeout=60))["stdout"], end="")
`;

describe("Connect LibreChat", () => {
  let printed = "";
  let environment: ReadonlyMap<string, string> = new Map();

  it("the lines for .env make both generations work, and sessions keep their files", async () => {
    printed = await place.start().ready();
    environment = parseEnvironment(dotEnv(printed));
    const { bash, session } = librechat(environment);
    expect((await bash("echo $((6 * 7)); ls")).content).toBe("stdout:\n42");
    await session("echo kept > note.txt");
    expect((await session("cat note.txt")).content).toContain("kept");

    const old = loadOldAgents(environment.get("LIBRECHAT_CODE_BASEURL") ?? "").createCodeExecutionTool({
      apiKey: environment.get("LIBRECHAT_CODE_API_KEY"),
      files: [],
    });
    const message = await callTool(old, "execute_code", { lang: "py", code: "print('old')" });
    expect(message.content).toBe("stdout:\nold");
  });

  it("the lines for librechat.yaml are what LibreChat's own schema reads, and take nothing away", () => {
    const lines = block(printed, "Add to its librechat.yaml");
    const { configSchema, defaultAgentCapabilities } = loadDataProvider();
    const read = configSchema.safeParse({ version: "1.3.14", ...parse(lines) });
    expect(read).toMatchObject({ success: true });
    expect(read.data).toMatchObject({
      endpoints: {
        agents: {
          capabilities: [...defaultAgentCapabilities, "programmatic_tools", "stateful_code_sessions"],
          statefulCodeSessions: {
            environments: [
              { type: "managed", baseURL: environment.get("LIBRECHAT_CODE_BASEURL_STATEFUL"), default: true },
            ],
          },
        },
      },
    });
    // The schema does refuse what it does not know.
    expect(
      configSchema.safeParse({ version: "1.3.14", endpoints: { agents: { capabilities: ["x"] } } }).success,
    ).toBe(false);
  });

  it("started again it shows no secret, and the commands that do are right", async () => {
    await place.stop();
    const again = dotEnv(await place.start().ready());
    const secrets = ["CODEAPI_JWT_PRIVATE_KEY_BASE64", "LIBRECHAT_CODE_API_KEY"];
    for (const name of secrets) {
      expect(again).not.toContain(environment.get(name));
      const command =
        new RegExp(`^# ${name} was printed .* as root: (.*)$`, "m").exec(again)?.[1] ?? "exit 1";
      expect(execFileSync("sh", ["-c", command], { encoding: "utf8" }).trim()).toBe(environment.get(name));
    }
    // Everything else is there again.
    expect([...parseEnvironment(again)]).toEqual(
      [...environment].filter(([name]) => !secrets.includes(name)),
    );
    expect((await librechat(environment).session("cat note.txt")).content).toContain("kept");
  });

  it("the two other forms are started by their commands, and serve who has what they print", async () => {
    const restarted = async (form: string) => {
      await place.stop();
      const command =
        new RegExp(`\\*\\*${form}\\*\\* \\(.(KERNELYARD\\S+ npm start)`).exec(section)?.[1] ?? "";
      return dotEnv(await place.start({}, command).ready());
    };
    const keyed = await restarted("API key");
    expect([...parseEnvironment(keyed).keys()]).toEqual(["LIBRECHAT_CODE_BASEURL"]);
    expect(keyed).toContain("# LIBRECHAT_CODE_API_KEY was printed");
    const code = { lang: "py", code: "print('served')" };
    const base = environment.get("LIBRECHAT_CODE_BASEURL") ?? "";
    const tool = (apiKey: string | undefined) =>
      loadOldAgents(base).createCodeExecutionTool({ apiKey, files: [] });
    const own = tool(environment.get("LIBRECHAT_CODE_API_KEY"));
    expect((await callTool(own, "execute_code", code)).content).toBe("stdout:\nserved");
    await expect(librechat(environment).bash("true")).rejects.toMatchObject({ retryable: false });

    const open = parseEnvironment(await restarted("Private network"));
    const names = ["LIBRECHAT_CODE_BASEURL", "LIBRECHAT_CODE_BASEURL_STATEFUL"];
    expect([...open.keys()]).toEqual(names);
    for (const name of names) {
      const bash = loadAgents().createBashExecutionTool({ baseUrl: open.get(name) });
      expect((await callTool(bash, "bash_tool", { command: "echo served" })).content).toBe("stdout:\nserved");
    }
  });

  it("a LibreChat in a container reaches the address that README names, by the name that it names", async () => {
    await place.stop();
    const command = /```sh\n(KERNELYARD_HOST=.* npm start)\n```/.exec(section)?.[1] ?? "";
    const text = await place.start({}, command).ready();
    const base = parseEnvironment(dotEnv(text)).get("LIBRECHAT_CODE_BASEURL") ?? "";
    const named = /`(http:\/\/host\.docker\.internal:3112\/v1)`/.exec(section)?.[1] ?? "";
    const AUTHORIZATION = librechat(environment).headers().Authorization;
    for (const url of [base, named.replace("3112", String(place.port))]) {
      expect(inContainer(EXEC, { BASE: url, AUTHORIZATION })).toBe("from a container\n");
    }
    // The negative: what it printed before is the container's own loopback.
    const loopback = environment.get("LIBRECHAT_CODE_BASEURL") ?? "";
    expect(() => inContainer(EXEC, { BASE: loopback, AUTHORIZATION })).toThrow();
  });
});
