/** What target aws chooses for a reason, which its snapshot does not say. */
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";
import { putAwayMs } from "../../../gateway/common/stopping.ts";
import { TIMEOUT_MS } from "../../../gateway/server/execution/canary.ts";
import { ImageOrder, ORDER_VARIABLE } from "../../../infra/parts/image-order.ts";
import { brokenStackPolicies, POLICIES } from "./check-policies.ts";
import { type Graph, recordStack, reveal } from "./record.ts";

const inputsOf = (graph: Graph, type: string) => {
  const found = graph.resources.find((one) => one.type === type);
  if (found === undefined) throw new Error(`the stack has no ${type}`);
  return found.inputs;
};

const imageNames = (graph: Graph): string[] =>
  graph.resources.flatMap(({ inputs }) => {
    const environment = z.record(z.string(), z.string()).safeParse(reveal(inputs.environment));
    const order = environment.data?.[ORDER_VARIABLE];
    return order === undefined ? [] : [ImageOrder.parse(JSON.parse(order)).name];
  });

describe("target aws", () => {
  let sample: Graph;
  beforeAll(async () => {
    sample = await recordStack("aws");
  });

  it("lets every machine of a network of one's own reach the endpoints whose names it is given", async () => {
    const own = {
      "kernelyard:vpcId": "vpc-0123456789abcdef0",
      "kernelyard:subnetIds": '["subnet-0123456789abcdef0","subnet-0fedcba9876543210"]',
    };
    const graph = await recordStack("aws", own);
    const subjects = graph.resources.map(({ type, name, inputs }) => ({
      type,
      name,
      id: `${name}-id`,
      properties: z.record(z.string(), z.unknown()).parse(reveal(inputs)),
    }));
    expect(await brokenStackPolicies(POLICIES, subjects)).toEqual([]);
    const rules = graph.resources.filter(
      (one) => one.type === "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    );
    expect(rules.map((rule) => rule.inputs)).toContainEqual(
      expect.objectContaining({ cidrIpv4: "10.61.0.0/16", fromPort: 443, toPort: 443 }),
    );
    const without = subjects.filter(({ name }) => !name.endsWith("-endpoint-vpc"));
    const broken = await brokenStackPolicies(POLICIES, without);
    expect(new Set(broken.map(({ name }) => name))).toEqual(new Set(["endpoint-serves-vpc"]));
  });

  it("gives images for another CPU another tag, since a tag that is there is taken as it is", async () => {
    const intel = imageNames(sample);
    const arm = imageNames(await recordStack("aws", { "kernelyard:instanceType": "m7g.large" }));
    expect(intel).toHaveLength(2);
    expect(arm).toHaveLength(2);
    expect(new Set([...intel, ...arm]).size).toBe(4);
  });

  it("waits longer for a busy host than its own canary does, and two minutes before it is replaced", async () => {
    const { healthCheck } = z
      .object({
        healthCheck: z.object({ timeout: z.number(), interval: z.number(), unhealthyThreshold: z.number() }),
      })
      .parse(inputsOf(sample, "aws:lb/targetGroup:TargetGroup"));
    expect(healthCheck.timeout * 1000).toBeGreaterThan(TIMEOUT_MS);
    expect(healthCheck.interval * healthCheck.unhealthyThreshold).toBeGreaterThanOrEqual(120);
  });

  it.each([
    ["", "one host"],
    ["900000", "one host, calls of 15 minutes"],
    ["900000", "a fleet, calls of 15 minutes", { "kernelyard:hostCount": "2" }],
  ])(
    "waits for hosts as long as they may take to go: %s %s",
    async (timeoutMax, _, more: Readonly<Record<string, string>> = {}) => {
      const settings = JSON.stringify({ KERNELYARD_TIMEOUT_MAX_MS: timeoutMax });
      const graph = await recordStack("aws", {
        ...(timeoutMax === "" ? {} : { "kernelyard:settings": settings }),
        ...more,
      });
      const { deregistrationDelay } = z
        .object({ deregistrationDelay: z.number() })
        .parse(inputsOf(graph, "aws:lb/targetGroup:TargetGroup"));
      const userData = String(reveal(inputsOf(graph, "aws:ec2/launchTemplate:LaunchTemplate").userData));
      const units = Buffer.from(userData, "base64").toString("utf8");
      const stops = [...units.matchAll(/^TimeoutStopSec=(\d+)$/gm)].map(([, seconds]) => Number(seconds));
      expect(stops).toHaveLength(2);
      // Its calls end and its sessions' files are saved, then its services stop, then the machine.
      const longestMs = Number(timeoutMax || SETTINGS.KERNELYARD_TIMEOUT_MAX_MS.fallback);
      const drain = putAwayMs(longestMs) / 1000 + stops.reduce((sum, one) => sum + one, 0);
      const { update, delete: gone } =
        graph.options.get("aws:autoscaling/group:Group kernelyard-fleet-group")?.timeouts ?? {};
      expect(gone).toMatch(/^\d+s$/);
      expect(update).toBe(gone);
      // The provider's own is ten minutes.
      expect(Number.parseInt(String(gone), 10)).toBeGreaterThanOrEqual(deregistrationDelay + drain + 300);
    },
  );

  it("replaces hosts by patched ones in time, the new ones first", async () => {
    expect(inputsOf(sample, "aws:autoscaling/group:Group")).toMatchObject({
      maxInstanceLifetime: 30 * 86_400,
      instanceMaintenancePolicy: { minHealthyPercentage: 100, maxHealthyPercentage: 200 },
    });
  });
});
