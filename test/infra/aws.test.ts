/**
 * Target aws on the real Pulumi engine, with the sample as it is, against an account that was empty: what happens, in which
 * order, and what would be refused. In place of AWS a provider that records and refuses (`providers/account.ts`), a client of
 * Docker that does with ECR (`providers/ecr-docker.ts`), and ECR's one API call.
 */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { changes, openStack, SET_UP_WITHIN_MS, type TestStack } from "./stack.ts";

const Step = z.object({
  action: z.enum(["create", "update", "delete", "build", "push"]),
  type: z.string(),
  name: z.string(),
  inputs: z.record(z.string(), z.unknown()),
});
type Step = z.infer<typeof Step>;

const TEMPLATE = "kernelyard-fleet-template";
const GROUP = "kernelyard-fleet-group";
const CREDENTIALS = { AWS_ACCESS_KEY_ID: "AKIATEST", AWS_SECRET_ACCESS_KEY: "secret", AWS_SESSION_TOKEN: "" };

describe("target aws", () => {
  let opened: TestStack | undefined;
  let folder = "";
  let recording = "";
  let stack: Stack;
  let ecr: Server | undefined;
  let seen = 0;

  const test = (): TestStack => {
    if (opened === undefined) throw new Error("the set-up has failed");
    return opened;
  };
  /** What was recorded since the last look. */
  function steps(): Step[] {
    const lines = existsSync(recording) ? readFileSync(recording, "utf8").split("\n").filter(Boolean) : [];
    const fresh = lines.slice(seen).map((line) => Step.parse(JSON.parse(line)));
    seen = lines.length;
    return fresh;
  }
  const at = (all: readonly Step[], action: Step["action"], name: string): number => {
    const index = all.findIndex((step) => step.action === action && step.name === name);
    if (index === -1)
      throw new Error(`${action} ${name} did not happen: ${all.map((s) => `${s.action} ${s.name}`)}`);
    return index;
  };
  const cloud = (all: readonly Step[]) => all.filter((step) => !["build", "push"].includes(step.action));
  const said = (all: readonly Step[]) => all.map((step) => `${step.action} ${step.name}`);
  const userDataOf = (step: Step | undefined) =>
    Buffer.from(String(step?.inputs.userData), "base64").toString("utf8");
  const sandboxFile = (name: string) => join(test().checkout, "sandbox-image", name);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "kernelyard-aws-"));
    recording = join(folder, "recording");
    const token = Buffer.from("AWS:test-token").toString("base64");
    ecr = createServer((request, response) => {
      const signed = /^AWS4-HMAC-SHA256 Credential=AKIATEST\//.test(request.headers.authorization ?? "");
      const asked = String(request.headers["x-amz-target"]).endsWith(".GetAuthorizationToken");
      response.statusCode = signed && asked ? 200 : 403;
      response.end(JSON.stringify({ authorizationData: [{ authorizationToken: token }] }));
    });
    const server = ecr;
    const port = await new Promise<number>((resolve) =>
      server.listen(0, "127.0.0.1", () =>
        resolve(z.object({ port: z.number() }).parse(server.address()).port),
      ),
    );
    const environment = {
      ...CREDENTIALS,
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_ENDPOINT_URL_ECR: `http://127.0.0.1:${port}`,
      // No engine, and a proxy where nobody listens.
      DOCKER_HOST: "",
      HTTPS_PROXY: "http://127.0.0.1:9",
      KERNELYARD_TEST_RECORDING: recording,
    };
    opened = await openStack("aws", "prod", {}, { environment, recording: true });
    stack = opened.stack;
  }, SET_UP_WITHIN_MS);

  afterAll(async () => {
    try {
      await opened?.remove();
    } finally {
      ecr?.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("shows what it would do without an engine or a machine, but not without credentials", async () => {
    const preview = await stack.preview();
    expect(preview.changeSummary.create).toBeGreaterThan(50);
    expect(steps()).toEqual([]);
    stack.workspace.envVars.AWS_ACCESS_KEY_ID = "";
    await expect(stack.preview()).rejects.toThrow(/No valid credential sources found/);
    stack.workspace.envVars.AWS_ACCESS_KEY_ID = CREDENTIALS.AWS_ACCESS_KEY_ID;
  });

  it("refuses another account's credentials before anything is made", async () => {
    test().configure({ accountId: "210987654321" });
    await expect(stack.up()).rejects.toThrow(/AWS account ID not allowed: 123456789012/);
    test().configure({ accountId: "123456789012" });
    expect(steps()).toEqual([]);
  });

  it("makes hosts last: after their images, rights, endpoints and the listener; alarms after them", async () => {
    const up = await stack.up();
    const all = steps();
    const group = at(all, "create", GROUP);
    expect(all.filter((step) => step.action === "push").length).toBe(2);
    for (const push of all.filter((step) => step.action === "push"))
      expect(all.indexOf(push)).toBeLessThan(group);
    for (const before of [
      TEMPLATE,
      "kernelyard-encryption-scaling-role",
      "kernelyard-gateway-keys-version",
      "kernelyard-host-role-profile",
      "kernelyard-files-host-policy",
      "kernelyard-files-lifecycle",
      "kernelyard-network-sts",
      "kernelyard-network-secretsmanager",
      "kernelyard-network-host-s3",
      "kernelyard-entry-https",
    ]) {
      expect(at(all, "create", before), before).toBeLessThan(group);
    }
    expect(at(all, "create", "kernelyard-logs-flow-policy")).toBeLessThan(
      at(all, "create", "kernelyard-logs-flow-log"),
    );
    expect(at(all, "create", "kernelyard-alarms-canary")).toBeGreaterThan(group);
    expect(all[group]?.inputs.launchTemplate).toMatchObject({ version: "1" });
    expect(up.outputs.endpoint?.value).toBe("https://code.example.org");
    expect(up.outputs.librechatEnvironment?.secret).toBe(true);
    for (const name of ["vpcId", "routeTableId", "entrySecurityGroupId", "loadBalancerZoneId"])
      expect(up.outputs[name]?.value, name).toBeTruthy();
  });

  it("changes nothing the second time, after a refresh, and from another checkout with another umask", async () => {
    expect(await changes(stack)).toEqual(["same"]);
    expect(Object.keys((await stack.refresh()).summary.resourceChanges ?? {})).toEqual(["same"]);
    expect(await changes(await test().elsewhere())).toEqual(["same"]);
    expect(steps()).toEqual([]);
  });

  it("brings a new image by a new template version; nothing is deleted", async () => {
    appendFileSync(sandboxFile("matplotlibrc"), "# changed\n");
    // The first attempt breaks off between the push and the state: the second finds the tag, which ECR takes only once.
    writeFileSync(`${recording}.break`, "");
    await expect(stack.up()).rejects.toThrow(/broke off/);
    const broken = steps();
    expect(said(broken)).toEqual([
      expect.stringMatching(/^build /),
      expect.stringMatching(/^push .*custom-rce-kernel:/),
    ]);
    await stack.up();
    const all = steps();
    expect(all.filter((step) => ["build", "push"].includes(step.action))).toEqual([]);
    expect(said(cloud(all))).toEqual([`update ${TEMPLATE}`, `update ${GROUP}`]);
    const [template, group] = cloud(all);
    expect(userDataOf(template)).toContain("custom-rce-kernel@sha256:");
    // The group is told a number that it has not seen, so that its refresh starts; new hosts come before old ones go.
    expect(group?.inputs.launchTemplate).toMatchObject({ version: "2" });
    expect(group?.inputs.instanceRefresh).toMatchObject({
      preferences: { minHealthyPercentage: 100, maxHealthyPercentage: 200 },
    });
  });

  it("makes a fleet of the second host: the directory first, then new hosts that know it", async () => {
    test().configure({ hostCount: 2 });
    await stack.up();
    const all = cloud(steps());
    const engine = at(all, "create", "kernelyard-directory-engine");
    for (const before of ["group", "subnets", "parameters"])
      expect(at(all, "create", `kernelyard-directory-${before}`)).toBeLessThan(engine);
    const secret = at(all, "create", "kernelyard-gateway-keys-version");
    expect(engine).toBeLessThan(secret);
    expect(secret).toBeLessThan(at(all, "update", TEMPLATE));
    for (const before of [
      "kernelyard-directory-in",
      "kernelyard-directory-host-out",
      "kernelyard-network-hop-in",
      "kernelyard-network-hop-out",
    ])
      expect(at(all, "create", before), before).toBeLessThan(at(all, "update", GROUP));
    expect(at(all, "update", TEMPLATE)).toBeLessThan(at(all, "update", GROUP));
    expect(at(all, "update", GROUP)).toBeLessThan(at(all, "create", "kernelyard-alarms-fleet-away"));
    expect(all[at(all, "update", GROUP)]?.inputs).toMatchObject({ desiredCapacity: 2 });
    expect(userDataOf(all[at(all, "update", TEMPLATE)])).not.toContain("rediss:");
  });

  it("changes the number of hosts without touching them, and lets them come and go by memory", async () => {
    test().configure({ hostCount: 3 });
    await stack.up();
    const all = cloud(steps());
    expect(said(all)).toEqual([`update ${GROUP}`]);
    expect(all[0]?.inputs).toMatchObject({ desiredCapacity: 3 });
    test().configure({ hostCountMax: 8 });
    await stack.up();
    expect(said(cloud(steps()))).toEqual([`update ${GROUP}`, "create kernelyard-fleet-memory"]);
  });

  it("lets ranges come, go and change places without one that is there twice", async () => {
    test().configure({ clientCidrs: ["10.0.0.0/16", "10.1.0.0/16"] });
    await stack.up();
    test().configure({ clientCidrs: ["10.1.0.0/16", "10.0.0.0/16"] });
    expect(await changes(stack)).toEqual(["same"]);
    test().configure({ clientCidrs: ["10.1.0.0/16"] });
    await stack.up();
    expect(said(cloud(steps()))).toEqual([
      "create kernelyard-network-client-10-1-0-0-16",
      "delete kernelyard-network-client-10-0-0-0-16",
    ]);
  });

  it("lets the longest call grow: the hooks are as they were, the load balancer and the hosts follow", async () => {
    const settings = { KERNELYARD_MEMORY: "512m", KERNELYARD_TIMEOUT_MAX_MS: "900000" };
    test().configure({ settings });
    await stack.up();
    const all = cloud(steps());
    expect(all[at(all, "update", "kernelyard-entry-hosts")]?.inputs).toMatchObject({
      deregistrationDelay: 960,
    });
    at(all, "update", GROUP);
  });

  it("keeps the old keys' secret until the hosts with the new ones are there", async () => {
    test().configure({ keyRotation: "2" });
    await stack.up();
    const all = steps();
    const version = "kernelyard-gateway-keys-version";
    expect(at(all, "create", version)).toBeLessThan(at(all, "update", TEMPLATE));
    expect(at(all, "update", TEMPLATE)).toBeLessThan(at(all, "update", GROUP));
    expect(at(all, "update", GROUP)).toBeLessThan(at(all, "delete", version));
    expect(userDataOf(all[at(all, "update", TEMPLATE)])).not.toContain("KERNELYARD_API_KEYS");
  });

  it("takes hosts down before what they need, and keeps what is protected with all that guards it", async () => {
    await stack.destroy({ excludeProtected: true });
    const all = steps();
    const deleted = all.filter((step) => step.action === "delete").map((step) => step.name);
    expect(at(all, "delete", GROUP)).toBeLessThan(at(all, "delete", TEMPLATE));
    for (const later of [
      "kernelyard-directory-engine",
      "kernelyard-entry-https",
      "kernelyard-network-secretsmanager",
      "kernelyard-network-vpc",
    ]) {
      expect(at(all, "delete", GROUP)).toBeLessThan(at(all, "delete", later));
    }
    expect(
      deleted.filter((name) =>
        /^kernelyard-(encryption|logs-access|files-(bucket|private|encryption|lifecycle|tls))/.test(name),
      ),
    ).toEqual([]);
  });
});
