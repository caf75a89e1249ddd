/**
 * `npm run verify -- URL`: tries a deployed endpoint as LibreChat and as an attacker would, harmlessly. Exit code 0 when every
 * check holds or is only weaker, 1 when one is broken, 2 when it cannot begin.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ATTACK_CHECKS, confinement } from "./attack-checks.ts";
import { type Check, CONTRACT_CHECKS } from "./contract-checks.ts";
import { parseEnvironment, readCredentials } from "./credentials.ts";
import { Endpoint } from "./endpoint.ts";
import { broken, type Finding, render, summary } from "./report.ts";

const USAGE = `npm run verify -- URL [--environment FILE]

FILE has LibreChat's environment, as the deployment printed it:
  pulumi stack output --show-secrets librechatEnvironment > librechat.env
Without it the variables LIBRECHAT_CODE_API_KEY and CODEAPI_JWT_* of this shell are used.
`;

class WrongUse extends Error {}

function begin(words: readonly string[]): Endpoint {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(words);
  } catch (error) {
    throw new WrongUse(error instanceof Error ? error.message : String(error));
  }
  const { positionals, values } = parsed;
  if (positionals.length > 1) throw new WrongUse("One URL, please.");
  const file = values.environment;
  let credentials: ReturnType<typeof readCredentials>;
  try {
    credentials = readCredentials(
      file === undefined ? process.env : parseEnvironment(readFileSync(file, "utf8")),
    );
  } catch (error) {
    throw new WrongUse(error instanceof Error ? error.message : String(error));
  }
  const url = positionals[0] ?? credentials.baseUrl;
  if (url === null || !/^https?:$/.test(URL.parse(url)?.protocol ?? ""))
    throw new WrongUse(url === null ? "Which endpoint?" : `${url} is no URL of an endpoint.`);
  return new Endpoint(url, credentials, `verify-${randomBytes(6).toString("hex")}`);
}

const parse = (args: readonly string[]) =>
  parseArgs({ args: [...args], allowPositionals: true, options: { environment: { type: "string" } } });

const reason = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error ? `${error.message}: ${cause.message}` : error.message;
};

async function tried(check: Check, endpoint: Endpoint): Promise<Finding> {
  try {
    return { title: check.title, ...(await check.run(endpoint)) };
  } catch (error) {
    return { title: check.title, ...broken(reason(error)) };
  }
}

async function examine(endpoint: Endpoint): Promise<Finding[]> {
  try {
    await endpoint.call("/health", { method: "GET", who: "nobody" });
  } catch (error) {
    return [{ title: "reachable", ...broken(`${endpoint.base}: ${reason(error)}`) }];
  }
  const findings: Finding[] = [];
  for (const check of CONTRACT_CHECKS) findings.push(await tried(check, endpoint));
  try {
    findings.push(...(await confinement(endpoint)));
  } catch (error) {
    findings.push({ title: "confinement", ...broken(reason(error)) });
  }
  for (const check of ATTACK_CHECKS) findings.push(await tried(check, endpoint));
  return findings;
}

try {
  const endpoint = begin(process.argv.slice(2));
  process.stdout.write(`Examining ${endpoint.base}; it takes about a minute.\n\n`);
  const findings = await examine(endpoint);
  process.stdout.write(`${[...render(findings), "", summary(findings)].join("\n")}\n`);
  process.exitCode = findings.some(({ state }) => state === "broken") ? 1 : 0;
} catch (error) {
  if (!(error instanceof WrongUse)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
