/** Target aws on the real Pulumi engine, against a provider that records: what happens, and in which order. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { changes, openStack, ROOT, SET_UP_WITHIN_MS, type TestStack } from "./stack.ts";

const Step = z.object({
  action: z.enum(["create", "update", "delete", "invoke"]),
  type: z.string(),
  name: z.string(),
  inputs: z.record(z.string(), z.unknown()),
});
type Step = z.infer<typeof Step>;

const TEMPLATE = "kernelyard-fleet-template";
const GROUP = "kernelyard-fleet-group";

describe("target aws", () => {
  let opened: TestStack | undefined;
  let folder = "";
  let recording = "";
  let context = "";
  let stack: Stack;
  let seen = 0;

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
  const userDataOf = (step: Step | undefined) =>
    Buffer.from(String(step?.inputs.userData), "base64").toString("utf8");

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "kernelyard-aws-"));
    recording = join(folder, "recording");
    context = mkdtempSync(join(tmpdir(), "kernelyard-sandbox-context-"));
    writeFileSync(join(context, "Dockerfile.rce"), "FROM scratch\n");
    const sample = z
      .object({ config: z.record(z.string(), z.unknown()) })
      .parse(parse(readFileSync(join(ROOT, "infra/samples/Pulumi.aws.sample.yaml"), "utf8")));
    const config = Object.fromEntries(
      Object.entries(sample.config).map(([key, value]) => [key.replace(/^kernelyard:/, ""), value]),
    );
    // No credentials, no metadata service, and a proxy where nobody listens.
    const closed = {
      AWS_ACCESS_KEY_ID: "",
      AWS_SECRET_ACCESS_KEY: "",
      AWS_EC2_METADATA_DISABLED: "true",
      HTTPS_PROXY: "http://127.0.0.1:9",
      KERNELYARD_TEST_RECORDING: recording,
    };
    opened = await openStack("prod", { ...config, sandboxContext: context }, closed, "recording");
    stack = opened.stack;
  }, SET_UP_WITHIN_MS);

  afterAll(async () => {
    await opened?.remove();
    for (const path of [folder, context]) rmSync(path, { recursive: true, force: true });
  });

  it("shows what it would do without credentials, network or engine", async () => {
    const preview = await stack.preview();
    expect(preview.changeSummary.create).toBeGreaterThan(50);
    expect(steps()).toEqual([]);
  });

  it("makes hosts last: after their images, rights, endpoints and the listener", async () => {
    const up = await stack.up();
    const all = steps();
    const group = at(all, "create", GROUP);
    for (const before of [
      TEMPLATE,
      "kernelyard-images-gateway",
      "kernelyard-images-sandbox",
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
    expect(all[group]?.inputs.launchTemplate).toMatchObject({ version: "1" });
    expect(up.outputs.endpoint?.value).toBe("https://code.example.org");
    expect(up.outputs.librechatEnvironment?.secret).toBe(true);
    expect(await changes(stack)).toEqual(["same"]);
    steps();
  });

  it("brings a new image by a new template version; nothing is deleted", async () => {
    writeFileSync(join(context, "Dockerfile.rce"), "FROM scratch\nLABEL changed=yes\n");
    await stack.up();
    const all = steps().filter((step) => step.action !== "invoke");
    expect(all.map((step) => `${step.action} ${step.name}`)).toEqual([
      "update kernelyard-images-sandbox",
      `update ${TEMPLATE}`,
      `update ${GROUP}`,
    ]);
    expect(userDataOf(all[1])).toContain("custom-rce-kernel@sha256:");
    // The group is told a number that it has not seen, so that its refresh starts; new hosts come before old ones go.
    expect(all[2]?.inputs.launchTemplate).toMatchObject({ version: "2" });
    expect(all[2]?.inputs.instanceRefresh).toMatchObject({
      preferences: { minHealthyPercentage: 100, maxHealthyPercentage: 200 },
    });
  });

  it("changes the number of hosts without touching them", async () => {
    opened?.configure({ hostCount: 2, unroutedSessions: true });
    await stack.up();
    const all = steps().filter((step) => step.action !== "invoke");
    expect(all.map((step) => `${step.action} ${step.name}`)).toEqual([`update ${GROUP}`]);
    expect(all[0]?.inputs).toMatchObject({ desiredCapacity: 2, launchTemplate: { version: "2" } });
  });

  it("keeps the old keys' secret until the hosts with the new ones are there", async () => {
    opened?.configure({ keyRotation: "2" });
    await stack.up();
    const all = steps();
    const version = "kernelyard-gateway-keys-version";
    expect(at(all, "create", version)).toBeLessThan(at(all, "update", TEMPLATE));
    expect(at(all, "update", TEMPLATE)).toBeLessThan(at(all, "update", GROUP));
    expect(at(all, "update", GROUP)).toBeLessThan(at(all, "delete", version));
    expect(userDataOf(all[at(all, "update", TEMPLATE)])).not.toContain("KERNELYARD_API_KEYS");
  });

  it("takes hosts down before what they need, and keeps what is protected", async () => {
    await stack.destroy({ excludeProtected: true });
    const all = steps();
    const deleted = all.filter((step) => step.action === "delete").map((step) => step.name);
    expect(at(all, "delete", GROUP)).toBeLessThan(at(all, "delete", TEMPLATE));
    for (const later of [
      "kernelyard-entry-https",
      "kernelyard-network-secretsmanager",
      "kernelyard-network-vpc",
    ]) {
      expect(at(all, "delete", GROUP)).toBeLessThan(at(all, "delete", later));
    }
    expect(deleted).not.toContain("kernelyard-encryption-key");
    expect(deleted).not.toContain("kernelyard-logs-access");
  });
});
