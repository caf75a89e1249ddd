import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { z } from "zod";
import { USER_DATA_LIMIT } from "../../../infra/targets/aws/user-data.ts";
import { ALERTS } from "../../../monitoring/alerts.ts";
import { FLEET_SENTINELS, type Graph, reveal, SENTINELS } from "./record.ts";
import { describeTarget } from "./target.ts";

function userDataOf(graph: Graph): string {
  const template = graph.resources.find((one) => one.type === "aws:ec2/launchTemplate:LaunchTemplate");
  return Buffer.from(String(reveal(template?.inputs.userData)), "base64").toString("utf8");
}

describeTarget("aws", (graph) => {
  const userData = () => userDataOf(graph());
  const isShell = (text: string) => spawnSync("bash", ["-n"], { input: text, encoding: "utf8" });
  /** The files that user data writes, by path. */
  const files = () =>
    [...userData().matchAll(/^w \d+ (\S+) <<'END-OF-FILE'\n([\s\S]*?)^END-OF-FILE$/gm)].map(
      ([, path, content]) => ({ path: path ?? "", content: content ?? "" }),
    );

  it("user data writes these files and enables these units", () => {
    expect(userData()).toMatchSnapshot();
  });

  it("user data fits, is a shell script, and so are the programs in it", () => {
    expect(Buffer.byteLength(userData())).toBeLessThan(USER_DATA_LIMIT);
    expect(isShell(userData())).toMatchObject({ status: 0, stderr: "" });
    const programs = files().filter((file) => file.path.endsWith(".sh"));
    expect(programs.length).toBe(6);
    for (const program of programs)
      expect(isShell(program.content), program.path).toMatchObject({ status: 0, stderr: "" });
  });

  it("units name programs and files that are there", () => {
    const known = new Set(files().map((file) => file.path));
    for (const unit of files().filter((file) => file.path.endsWith(".service"))) {
      const program = /^ExecStart=(\S+)/m.exec(unit.content)?.[1] ?? "";
      expect(program === "/usr/bin/docker" || known.has(program), `${unit.path}: ${program}`).toBe(true);
      for (const [, file] of unit.content.matchAll(/--env-file=(\/etc\/\S+)/g))
        expect(known.has(file ?? "")).toBe(true);
    }
  });

  it("of one host knows no fleet", () => {
    expect(userData()).not.toMatch(/^(KERNELYARD_FLEET|FLEET_PORT=)/m);
    expect(graph().resources.filter(({ type }) => type.startsWith("aws:elasticache"))).toEqual([]);
  });

  it("user data holds no key, not even a hash or a public one", () => {
    for (const word of ["KERNELYARD_API_KEYS", "KERNELYARD_JWT_PUBLIC_KEY", SENTINELS.apiKey, "sentinel"]) {
      expect(userData()).not.toContain(word);
    }
  });
});

describeTarget(
  "aws",
  (graph) => {
    const one = (name: string) => {
      const found = graph().resources.find((resource) => resource.name === name);
      return z.record(z.string(), z.unknown()).parse(reveal(found?.inputs));
    };

    it("has a directory of two nodes in two zones that drops nothing, for the hosts alone", () => {
      expect(one("kernelyard-directory-engine")).toMatchObject({
        engine: "valkey",
        clusterMode: "enabled",
        numNodeGroups: 1,
        replicasPerNodeGroup: 1,
        multiAzEnabled: true,
        transitEncryptionMode: "required",
        authToken: FLEET_SENTINELS.directoryPassword,
        durability: "disabled",
      });
      expect(one("kernelyard-directory-parameters").parameters).toContainEqual({
        name: "maxmemory-policy",
        value: "noeviction",
      });
      const rules = graph().resources.filter(
        ({ inputs, type }) =>
          type.endsWith(":SecurityGroupIngressRule") &&
          reveal(inputs.securityGroupId) === "kernelyard-directory-group-id",
      );
      expect(rules.map(({ inputs }) => [inputs.referencedSecurityGroupId, inputs.fromPort])).toEqual([
        ["kernelyard-network-host-group-id", 6379],
      ]);
    });

    it("tells the hosts what is secret by the secret, and the rest by user data", () => {
      const secret = String(one("kernelyard-gateway-keys-version").secretString);
      const { directoryPassword, hopKey } = FLEET_SENTINELS;
      const address = "clustercfg.kernelyard-test.mock.cache.amazonaws.com:6379";
      expect(secret).toContain(
        `KERNELYARD_FLEET_URL=rediss://:${directoryPassword}@${address}?cluster=true\n`,
      );
      expect(secret).toContain(`KERNELYARD_FLEET_KEY=${hopKey}\n`);
      const text = userDataOf(graph());
      expect(text).toMatch(/^KERNELYARD_FLEET_NAME=test$/m);
      expect(text).toMatch(/^FLEET_PORT="3114"$/m);
      expect(text).toContain("--publish=3114:3114");
      // On the host alone, whose security group lets nobody but the load balancer and other hosts in.
      expect(text).toContain("--publish=127.0.0.1:3115:3115");
      expect(text).not.toMatch(/KERNELYARD_FLEET_(URL|KEY)|sentinel/);
      expect(Buffer.byteLength(text)).toBeLessThan(USER_DATA_LIMIT);
    });

    it("lets hosts come and go by memory, and does not set their number back", () => {
      expect(one("kernelyard-fleet-group")).toMatchObject({ minSize: 2, desiredCapacity: 2, maxSize: 6 });
      const group = "aws:autoscaling/group:Group kernelyard-fleet-group";
      expect(graph().options.get(group)?.ignoreChanges).toEqual(["desiredCapacity"]);
      expect(one("kernelyard-fleet-memory")).toMatchObject({
        policyType: "TargetTrackingScaling",
        targetTrackingConfiguration: {
          customizedMetricSpecification: {
            metricName: "MemoryGiven",
            metricDimensions: [{ name: "Group", value: "kernelyard-test-hosts" }],
          },
        },
      });
    });

    it("lets the gateways put the audit log into the operator's bucket, by role, endpoint and settings", () => {
      expect(userDataOf(graph())).toMatch(/^KERNELYARD_AUDIT_S3_BUCKET=audit-logs$/m);
      for (const name of ["kernelyard-files-policy", "kernelyard-network-s3"])
        expect(one(name).policy).toContain('"arn:aws:s3:::audit-logs/audit/*"');
    });

    it("alarms as the table of alerts does", () => {
      const alert = ALERTS.find(({ name }) => name === "KernelyardFleetAway");
      expect(one("kernelyard-alarms-fleet-away").alarmDescription).toContain(alert?.summary);
    });
  },
  {
    name: "several hosts",
    changes: {
      "kernelyard:hostCount": "2",
      "kernelyard:hostCountMax": "6",
      "kernelyard:settings": JSON.stringify({
        KERNELYARD_OPERATOR_KEY: `sha256:${"0".repeat(64)}`,
        KERNELYARD_AUDIT_S3_BUCKET: "audit-logs",
      }),
    },
  },
);
