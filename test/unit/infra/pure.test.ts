/** The arithmetic and the texts that the stacks are made of. */
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { parseApiKeys } from "../../../gateway/server/auth/api-keys.ts";
import { recipeOf, sandboxLibraries } from "../../../infra/parts/image-recipe.ts";
import { lockProblem } from "../../../infra/parts/lock-check.ts";
import { sshMachine } from "../../../infra/parts/machine.ts";
import { commandLine, quote } from "../../../infra/parts/quote.ts";
import { launcherDescription, runFlags } from "../../../infra/services/description.ts";
import { gatewayEnvironment } from "../../../infra/services/environment.ts";
import { splitCidr } from "../../../infra/targets/aws/cidr.ts";
import { idleSeconds } from "../../../infra/targets/aws/entry.ts";
import { filesPolicy } from "../../../infra/targets/aws/file-bucket.ts";
import { hostFiles } from "../../../infra/targets/aws/host-files.ts";
import { s3EndpointPolicy } from "../../../infra/targets/aws/s3-endpoint.ts";
import { mixedArchitectures } from "../../../infra/targets/hosts/look.ts";
import { ROOM } from "../../../sandbox-image/tools/room.ts";

const GENERATED = "ky_generated-by-the-stack";
const KEY = "Further0123456789key";

const number = (address: string) => address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);

describe("splitCidr", () => {
  it("gives ranges of equal size, next to each other, inside the whole", () => {
    fc.assert(
      fc.property(
        fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)),
        fc.integer({ min: 8, max: 24 }),
        fc.integer({ min: 1, max: 4 }),
        (octets, length, bits) => {
          const ranges = splitCidr(`${octets.join(".")}/${length}`, bits);
          expect(ranges).toHaveLength(2 ** bits);
          const size = 2 ** (32 - length - bits);
          const starts = ranges.map((range) => number(range.split("/")[0] ?? ""));
          const whole = Math.floor(number(octets.join(".")) / 2 ** (32 - length)) * 2 ** (32 - length);
          expect(starts).toEqual(starts.map((_, index) => whole + index * size));
          expect(new Set(ranges.map((range) => range.split("/")[1]))).toEqual(
            new Set([String(length + bits)]),
          );
        },
      ),
    );
  });

  it.each(["10.0.0.0", "10.0.0/16", "10.0.0.256/16", "10.0.0.0/27", "10.0.0.0/4"])("refuses %s", (range) => {
    expect(() => splitCidr(range, 4)).toThrow(/use a range from/);
  });
});

describe("quote", () => {
  it("brings every word through a shell as it was", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({ minLength: 1 }).filter((word) => !word.includes("\0")),
          { minLength: 1, maxLength: 3 },
        ),
        (words) => {
          const said = spawnSync("sh", ["-c", `printf '%s\\0' ${commandLine(words)}`], { encoding: "utf8" });
          expect(said.stdout.split("\0").slice(0, -1)).toEqual(words);
        },
      ),
      { numRuns: 30 },
    );
    expect(quote("")).toBe("''");
  });
});

describe("sshMachine", () => {
  const host = {
    name: "box-1",
    address: "10.0.0.11",
    port: 2222,
    user: "ops",
    hostKey: "ssh-ed25519 AAAA",
  };

  it("accepts the configured host key and no other, and becomes root with sudo", () => {
    const machine = sshMachine(host, "~/.ssh/id");
    expect(machine.dockerHost).toBe("ssh://ops@10.0.0.11:2222");
    expect(machine.sshOptions).toContain("StrictHostKeyChecking=yes");
    expect(machine.sshOptions).toContain("UserKnownHostsFile=none");
    expect(machine.sshOptions).toContain("KnownHostsCommand=/bin/echo %H ssh-ed25519 AAAA");
    // ssh itself finds the operator's home: another operator's is no change.
    expect(machine.sshOptions).toContain("IdentityFile=~/.ssh/id");
    expect(machine.run("id -u")).toMatch(/ -l ops -- 10\.0\.0\.11 .*sudo -n sh -c .* <\/dev\/null$/);
  });

  it("shares its connections, of which sshd drops what comes in too fast", () => {
    const { prepare, run, sshOptions } = sshMachine(host, null);
    for (const option of ["ControlMaster=auto", "ControlPersist=60s", "ControlPath=~/.ssh/ky-%C"]) {
      expect(sshOptions).toContain(option);
      expect(run("true")).toContain(option);
    }
    // Groups that it gives the user are known to new connections only.
    expect(prepare("true")).toMatch(
      /^ssh -o ControlMaster=no -o ControlPath=none .* && \{ ssh .* -O exit -- 10\.0\.0\.11 /,
    );
  });

  it("of different CPUs cannot serve one stack", () => {
    const look = (architecture: string) => ({ drift: null, architecture, certificateEnds: false });
    expect(mixedArchitectures(new Map([["a", look("x86_64")]]))).toBeNull();
    const looks = new Map([
      ["a", look("x86_64")],
      ["b", look("aarch64")],
    ]);
    expect(mixedArchitectures(looks)).toMatch(/different CPUs \(a x86_64, b aarch64\).*Remedy: one stack/);
  });

  it("uses the agent without a key file, and needs no sudo as root", () => {
    const machine = sshMachine({ ...host, user: "root" }, null);
    expect(machine.sshOptions.join(" ")).not.toContain("IdentityFile");
    expect(machine.run("id -u")).not.toContain("sudo");
  });
});

describe("the endpoint of S3", () => {
  it("leads to no bucket of anybody else", () => {
    const statements = z
      .object({
        Statement: z.array(z.looseObject({ Resource: z.array(z.string()) })),
      })
      .parse(JSON.parse(s3EndpointPolicy("eu-central-1", "123456789012", "kernelyard-prod", null))).Statement;
    for (const { Resource } of statements) {
      for (const arn of Resource) expect(arn).toMatch(/^arn:aws:s3:::[a-z][a-z0-9-]{8,}/);
    }
    const own = statements.filter(({ Resource }) => Resource.some((arn) => arn.includes("kernelyard")));
    expect(own).toEqual([
      expect.objectContaining({
        Condition: { StringEquals: { "aws:ResourceAccount": "123456789012" } },
      }),
    ]);
  });
});

describe("the audit log's bucket in AWS", () => {
  const AUDIT = { bucket: "audit-logs", under: "yard/audit/" };
  const Statements = z.object({
    Statement: z.array(z.looseObject({ Action: z.unknown(), Resource: z.unknown() })),
  });
  const added = (without: string, with_: string) => {
    const before = Statements.parse(JSON.parse(without)).Statement;
    return Statements.parse(JSON.parse(with_)).Statement.slice(before.length);
  };

  it("is the gateway's to list, and to read and write below its folder, never to remove from", () => {
    const [arn, key] = ["arn:aws:s3:::files", "arn:aws:kms:key"];
    expect(added(filesPolicy(arn, key, null), filesPolicy(arn, key, AUDIT))).toEqual([
      {
        Effect: "Allow",
        Action: ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
        Resource: "arn:aws:s3:::audit-logs",
      },
      {
        Effect: "Allow",
        Action: ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
        Resource: "arn:aws:s3:::audit-logs/yard/audit/*",
      },
    ]);
  });

  it("is reached through the endpoint", () => {
    const endpoint = (audit: typeof AUDIT | null) =>
      s3EndpointPolicy("eu-central-1", "123456789012", "kernelyard-prod", audit);
    expect(added(endpoint(null), endpoint(AUDIT)).map(({ Resource }) => Resource)).toEqual([
      ["arn:aws:s3:::audit-logs", "arn:aws:s3:::audit-logs/yard/audit/*"],
    ]);
  });
});

describe("services", () => {
  it("the launcher's flags ask for nothing but what its description says", () => {
    const flags = runFlags(launcherDescription({ data: "/d", dockerSocket: "/s" }));
    expect(flags.filter((flag) => flag.startsWith("--cap-"))).toEqual([
      "--cap-drop=ALL",
      "--cap-add=CAP_CHOWN",
      "--cap-add=CAP_DAC_OVERRIDE",
      "--cap-add=CAP_FOWNER",
    ]);
    expect(flags).toContain("--network=none");
    expect(flags).not.toContain("--privileged");
  });

  describe("keys on their way to the gateway", () => {
    const settingsWith = (furtherApiKeys: string | null) =>
      gatewayEnvironment(
        {
          port: 3112,
          isolation: "runsc",
          auth: ["api-key"],
          keyRotation: "1",
          settings: {},
          sandboxContext: "",
          profile: "default",
          sandboxBaseImage: "",
          serviceBaseImage: "",
          protectData: true,
        },
        { data: "/d", dockerSocket: "/s" },
        { apiKey: GENERATED, jwtPublicKeyPem: "", furtherApiKeys },
      );

    it("are hashes, whatever form they had, and what the gateway reads", () => {
      const text = `team-a=${KEY}a, ${KEY}b,, ${KEY.toLowerCase()}==, team-b=sha256:${"0".repeat(64)}`;
      const environment = settingsWith(text);
      expect(environment.KERNELYARD_JWT_PUBLIC_KEY).toBeUndefined();
      expect(environment.KERNELYARD_API_KEYS).toMatch(/^([a-z-]+=sha256:[0-9a-f]{64},?){5}$/);
      expect(parseApiKeys(environment.KERNELYARD_API_KEYS ?? "")).toEqual(
        parseApiKeys(`${GENERATED},${text}`),
      );
    });

    it("are refused with their place and no part of them, when they are none", () => {
      expect(() => settingsWith(`${KEY}, short`)).toThrow(
        /^kernelyard:apiKeys: entry 2 is shorter than 16 characters/,
      );
      expect(() => settingsWith(`Team=${KEY}`)).toThrow(/^kernelyard:apiKeys: entry 1 names a tenant/);
    });
  });

  describe("the profile of a stack", () => {
    const order = { image: "sandbox", folder: ROOM, name: "r:t" } as const;
    const base = { name: "below", id: "sha256:0" };

    it("must be one of the folder's, before anything is made", () => {
      expect(lockProblem(ROOM, "default")).toBeNull();
      expect(lockProblem(ROOM, "documents")).toBeNull();
      expect(lockProblem(ROOM, "analyts")).toMatch(
        /^kernelyard:profile is analyts, and .* has analyst, default, documents, polyglot\. Remedy: pulumi config set profile NAME/,
      );
    });

    it("decides the recipe; without one it is the specification's", () => {
      expect(recipeOf(order, base)).toMatchObject({
        dockerfile: "Dockerfile.rce",
        arguments: { PROFILE: "default" },
      });
      expect(recipeOf({ ...order, profile: "analyst" }, base)).toMatchObject({
        dockerfile: "profiles/Dockerfile",
        arguments: { PROFILE: "analyst", BASE_IMAGE: "below" },
      });
    });

    it("decides which libraries a host proves", () => {
      expect(sandboxLibraries(ROOM, "default")).not.toContain("openpyxl");
      expect(sandboxLibraries(ROOM, "documents")).toEqual(
        expect.arrayContaining(["pandas", "openpyxl", "python-docx"]),
      );
    });
  });

  it("an AWS host asks for credentials only where files are in a bucket, and then before the gateway starts", () => {
    const paths = { data: "/data", dockerSocket: "/var/run/docker.sock" };
    const config = { port: 3112, isolation: "runsc", settings: {} } as const;
    const withBucket = (name: string) =>
      hostFiles(paths, config, true, null).find(({ path }) => path.endsWith(name))?.content;
    expect(JSON.stringify(hostFiles(paths, config, false, null))).not.toMatch(/credentials|AWS_CONFIG_FILE/);
    expect(withBucket("/kernelyard-gateway.service.d/credentials.conf")).toMatch(
      /^\[Service\]\n(#.*\n)?ExecStartPre=\/usr\/local\/lib\/kernelyard\/credentials\.sh\n$/,
    );
    expect(withBucket("/kernelyard-gateway.service")).toMatch(
      /^ExecStart=.* --env=AWS_CONFIG_FILE=\/run\/kernelyard-credentials\/config /m,
    );
  });

  it("the load balancer waits longer than the longest call, within its own limit", () => {
    expect(idleSeconds(300_000)).toBe(360);
    expect(idleSeconds(86_400_000)).toBe(4000);
  });
});
