import { expect, it } from "vitest";
import { z } from "zod";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { ImageOrder, ORDER_VARIABLE } from "../../../infra/parts/image-order.ts";
import { type Graph, reveal } from "./record.ts";
import { describeTarget } from "./target.ts";

const HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3fQyq6yV1Yj0m0m3Xc0mDb1Tq1Z0n6rWw0cX4yqk9b";
const Container = z.object({
  name: z.string(),
  envs: z.array(z.string()).default([]),
  ports: z.array(z.object({ internal: z.number(), external: z.number(), ip: z.string() })).default([]),
  networksAdvanced: z.array(z.object({ name: z.string() })).default([]),
});

const TWO_MACHINES = {
  "kernelyard:hosts": JSON.stringify([
    { name: "box-1", address: "10.0.0.11", hostKey: HOST_KEY },
    { name: "box-2", address: "box-2.example.org", privateAddress: "192.168.7.12", hostKey: HOST_KEY },
  ]),
  "kernelyard:fileStore": JSON.stringify({ bucket: "files", endpoint: "https://s3.example.org" }),
  "kernelyard:fileStoreKey": "sentinel-id:sentinel-secret",
};

const OPERATOR = {
  "kernelyard:settings": JSON.stringify({
    KERNELYARD_OPERATOR_KEY: `sha256:${"0".repeat(64)}`,
    KERNELYARD_AUDIT_S3_BUCKET: "audit-logs",
  }),
};

const containersOf = (graph: Graph) =>
  graph.resources
    .filter(({ type }) => type === "docker:index/container:Container")
    .map(({ inputs, name, provider }) => ({
      resource: name,
      engine: provider?.split("::")[3],
      ...Container.parse(reveal(inputs)),
    }));

describeTarget("hosts", (graph) => {
  it("builds every image on the first machine, whichever engine and CPU the operator has", () => {
    const orders = graph().resources.flatMap(({ inputs }) => {
      const environment = z.record(z.string(), z.string()).safeParse(reveal(inputs.environment));
      const text = environment.data?.[ORDER_VARIABLE];
      return text === undefined ? [] : [ImageOrder.parse(JSON.parse(text))];
    });
    expect(orders.map(({ image }) => image).sort()).toEqual(["registry", "sandbox", "services"]);
    for (const { engine, platform } of orders) {
      expect(engine?.host).toMatch(/^ssh:\/\/root@10\.0\.0\.11:/);
      // The engine's own, of which the operator's may be none.
      expect(platform).toBeUndefined();
    }
  });

  it("of one machine knows no fleet", () => {
    const text = JSON.stringify(graph().resources.map(({ inputs, name }) => [name, reveal(inputs)]));
    expect(text).not.toMatch(/FLEET|valkey-container/);
  });
});

describeTarget(
  "hosts",
  (graph) => {
    const containers = () => containersOf(graph());
    const environment = (box: string, service = "gateway") => {
      const found = containers().find(({ resource }) => resource === `kernelyard-${box}-services-${service}`);
      return new Map(
        found?.envs.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
      );
    };

    it("has one directory, on the first machine's private address", () => {
      const [valkey, ...others] = containers().filter(({ resource }) => resource.includes("valkey"));
      expect(others).toEqual([]);
      expect(valkey?.engine).toBe("kernelyard-box-1-engine");
      expect(valkey?.ports).toEqual([{ internal: 6379, external: 6379, ip: "10.0.0.11" }]);
    });

    it("tells each gateway where the directory is, where others reach it, and what they all share", () => {
      const [one, two] = [environment("box-1"), environment("box-2")];
      const password = "kernelyard:sentinel-directory-password";
      expect(one.get("KERNELYARD_FLEET_URL")).toBe(`rediss://${password}@kernelyard-test-valkey:6379`);
      expect(two.get("KERNELYARD_FLEET_URL")).toBe(`rediss://${password}@10.0.0.11:6379`);
      expect(one.get("KERNELYARD_FLEET_ADDRESS")).toBe("10.0.0.11:3114");
      expect(two.get("KERNELYARD_FLEET_ADDRESS")).toBe("192.168.7.12:3114");
      for (const name of ["CA", "NAME", "KEY"]) {
        expect(one.get(`KERNELYARD_FLEET_${name}`)).toBe(two.get(`KERNELYARD_FLEET_${name}`));
        expect(one.get(`KERNELYARD_FLEET_${name}`)).toBeDefined();
      }
      for (const each of [one, two]) {
        expect(each.get("KERNELYARD_S3_BUCKET")).toBe("files");
        expect(each.get("AWS_SECRET_ACCESS_KEY")).toBe("sentinel-secret");
      }
    });

    it("gives the audit log's bucket to the gateways alone, beside the store that it is in", () => {
      const settings = (service: string) => {
        // The fleet's are the recorder's own words.
        const all = [...environment("box-2", service)].filter(([name]) => /^KERNELYARD_(?!FLEET)/.test(name));
        return readSettings(Object.fromEntries(all));
      };
      expect(settings("gateway")).toMatchObject({
        auditS3Bucket: "audit-logs",
        s3Endpoint: "https://s3.example.org",
      });
      expect(settings("launcher").auditS3Bucket).toBeNull();
    });

    it("publishes what machines say to each other on their private addresses, the console on none", () => {
      const gateways = containers().filter(({ resource }) => resource.endsWith("-gateway"));
      expect(gateways.map(({ ports }) => ports.map(({ external, ip }) => `${ip}:${external}`))).toEqual([
        ["0.0.0.0:3112", "127.0.0.1:3115", "10.0.0.11:3114"],
        ["0.0.0.0:3112", "127.0.0.1:3115", "192.168.7.12:3114"],
      ]);
      expect(environment("box-2").get("KERNELYARD_CONSOLE_HOST")).toBe("0.0.0.0");
    });
  },
  {
    name: "two machines",
    changes: { ...TWO_MACHINES, ...OPERATOR },
  },
);

describeTarget(
  "hosts",
  (graph) => {
    const find = (resource: string) => containersOf(graph()).find((one) => one.resource === resource);

    it("has one entry, on the first machine, which the others' operators see nothing of", () => {
      const entries = containersOf(graph()).filter(({ resource }) => resource.includes("entry"));
      expect(entries.map(({ engine, ports }) => ({ engine, ports }))).toEqual([
        { engine: "kernelyard-box-1-engine", ports: [{ internal: 8080, external: 3110, ip: "0.0.0.0" }] },
      ]);
    });

    it("gives it each gateway: its own machine's by their network, the others' by their inner addresses", () => {
      const configuration = graph().resources.find(({ name }) => name === "kernelyard-entry-configuration");
      const { stdin } = z.object({ stdin: z.string() }).parse(reveal(configuration?.inputs));
      expect(stdin.match(/^ {2}server .*$/gm)).toEqual([
        "  server box-1 kernelyard-test-gateway:3112 resolvers names init-addr none resolve-prefer ipv4",
        "  server box-2 192.168.7.12:3112",
      ]);
      const networks = (resource: string) => find(resource)?.networksAdvanced.map(({ name }) => name);
      expect(networks("kernelyard-entry-container")).toEqual(["kernelyard-test-entry"]);
      expect(networks("kernelyard-box-1-services-gateway")).toContain("kernelyard-test-entry");
      expect(networks("kernelyard-box-2-services-gateway")).not.toContain("kernelyard-test-entry");
    });

    it("is the one address that LibreChat is given; machines keep their own", () => {
      const { endpoint, endpoints, health } = graph().outputs;
      expect({ endpoint, endpoints, health }).toEqual({
        endpoint: "http://10.0.0.11:3110",
        endpoints: ["http://10.0.0.11:3112", "http://box-2.example.org:3112"],
        health: "http://10.0.0.11:3110/health",
      });
    });
  },
  { name: "two machines, one address", changes: { ...TWO_MACHINES, "kernelyard:entryPort": "3110" } },
);
