import { describe, expect, it } from "vitest";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { SETTINGS } from "../../../gateway/common/settings/schema.ts";
import { problemsOf } from "./problems.ts";

const problems = (env: Record<string, string>) => problemsOf(() => readSettings(env));

describe("readSettings", () => {
  it("gives the specification's defaults for an empty environment", () => {
    expect(readSettings({ PATH: "/bin" })).toMatchObject({
      host: "127.0.0.1",
      port: 3112,
      dataDir: "/var/lib/kernelyard",
      launcherSocket: "/var/lib/kernelyard/run/launcher.sock",
      auth: ["api-key", "jwt"],
      apiKeys: null,
      isolation: "runsc",
      image: "custom-rce-kernel:latest",
      memoryBytes: 512 * 1024 * 1024,
      cpus: 0.5,
      memoryBudgetBytes: null,
    });
  });

  it("copies the audit log to a bucket beside files on the disk", () => {
    const copy = { KERNELYARD_AUDIT_S3_BUCKET: "audit", KERNELYARD_AUDIT_S3_PREFIX: "yard" };
    expect(readSettings({ ...copy, KERNELYARD_S3_REGION: "eu-central-1" })).toMatchObject({
      fileStore: "disk",
      auditS3Bucket: "audit",
      auditS3Prefix: "yard/",
      s3Region: "eu-central-1",
    });
  });

  it("has one field per setting", () => {
    expect(Object.keys(readSettings({}))).toHaveLength(Object.keys(SETTINGS).length);
  });

  it("reads sizes, lists and paths", () => {
    const settings = readSettings({
      KERNELYARD_MEMORY: "1.5g",
      KERNELYARD_AUTH: "jwt , api-key",
      KERNELYARD_DATA_DIR: "/srv/ky",
      KERNELYARD_POOL_SIZE: "0",
    });
    expect(settings).toMatchObject({
      memoryBytes: 1.5 * 1024 ** 3,
      auth: ["jwt", "api-key"],
      launcherSocket: "/srv/ky/run/launcher.sock",
      poolSize: 0,
    });
  });

  it("reads profiles: an image follows its profile's name unless it has one of its own", () => {
    expect(readSettings({})).toMatchObject({ profile: "default", profiles: null, tenantProfiles: null });
    expect(
      readSettings({
        KERNELYARD_PROFILE: "analyst",
        KERNELYARD_PROFILES: "documents, mine=registry.example:5000/mine@sha256:1",
        KERNELYARD_TENANT_PROFILES: "team-a=documents,team-b=analyst",
      }),
    ).toMatchObject({
      image: "custom-rce-kernel:analyst",
      profiles: [
        { name: "documents", image: "custom-rce-kernel:documents" },
        { name: "mine", image: "registry.example:5000/mine@sha256:1" },
      ],
      tenantProfiles: new Map([
        ["team-a", "documents"],
        ["team-b", "analyst"],
      ]),
    });
    expect(readSettings({ KERNELYARD_PROFILE: "analyst", KERNELYARD_IMAGE: "mine" })).toMatchObject({
      image: "mine",
    });
  });

  it.each([
    [{ KERNELYARD_PROFILE: "../x" }, "must be a profile's name"],
    [{ KERNELYARD_PROFILES: "a=" }, "`a=`: names no image"],
    [{ KERNELYARD_PROFILES: "A" }, "must be a profile's name"],
    [{ KERNELYARD_PROFILES: "default" }, "KERNELYARD_PROFILES: names default a second time"],
    [{ KERNELYARD_PROFILES: "a,a=b" }, "KERNELYARD_PROFILES: names a a second time"],
    [{ KERNELYARD_TENANT_PROFILES: "t" }, "names no profile (TENANT=PROFILE)"],
    [{ KERNELYARD_TENANT_PROFILES: "T=default" }, "names no tenant"],
    [{ KERNELYARD_TENANT_PROFILES: "t=default,t=default" }, "names a tenant twice"],
    [{ KERNELYARD_TENANT_PROFILES: "t=documents" }, "this host has default. Add it to KERNELYARD_PROFILES"],
  ])("refuses %o", (env, message) => {
    expect(problems(env).join("\n")).toContain(message);
  });

  it("reads where files live", () => {
    expect(readSettings({})).toMatchObject({ fileStore: "disk", s3Bucket: null, s3Prefix: null });
    const s3 = { KERNELYARD_FILE_STORE: "s3", KERNELYARD_S3_BUCKET: "my-files" };
    expect(
      readSettings({
        ...s3,
        KERNELYARD_S3_PREFIX: "kernelyard/prod",
        KERNELYARD_S3_ENDPOINT: "https://s3.example.org:9000",
      }),
    ).toMatchObject({
      fileStore: "s3",
      s3Bucket: "my-files",
      s3Prefix: "kernelyard/prod/",
      s3Region: null,
      s3Endpoint: "https://s3.example.org:9000",
    });
    for (const prefix of ["/a", "a//b", "a b"]) {
      expect(problems({ ...s3, KERNELYARD_S3_REGION: "eu-central-1", KERNELYARD_S3_PREFIX: prefix })).toEqual(
        [expect.stringContaining("must be folders of")],
      );
    }
  });

  it("takes an empty value for not set", () => {
    expect(readSettings({ KERNELYARD_PORT: "", KERNELYARD_API_KEYS: "" })).toMatchObject({
      port: 3112,
      apiKeys: null,
    });
  });

  it("reads what env files hand on: Windows line ends, blanks and quotes", () => {
    expect(
      readSettings({
        KERNELYARD_PORT: "8080\r",
        KERNELYARD_HOST: '"0.0.0.0"\r',
        KERNELYARD_DATA_DIR: "'/srv/my data'",
        KERNELYARD_MEMORY: " 1g ",
        KERNELYARD_RATE_LIMITS: "\r",
        KERNELYARD_IMAGE: '""',
        KERNELYARD_JWT_PUBLIC_KEY: '"-----BEGIN PUBLIC KEY-----\\nAA"',
        KERNELYARD_API_KEYS: '"a key of many characters"\r',
      }),
    ).toMatchObject({
      port: 8080,
      host: "0.0.0.0",
      dataDir: "/srv/my data",
      memoryBytes: 1024 ** 3,
      rateLimits: "on",
      image: "custom-rce-kernel:latest",
      jwtPublicKey: "-----BEGIN PUBLIC KEY-----\\nAA",
      // Whether its quotes belong to a key is for those to say who read keys.
      apiKeys: '"a key of many characters"',
    });
  });

  it.each([
    [{ KERNELYARD_PORT: "31\u00a012" }, "KERNELYARD_PORT=31<U+00A0>12: must be a whole number."],
    [{ KERNELYARD_PORT: "“3112”" }, "KERNELYARD_PORT=“3112”: must be a whole number."],
    [{ KERNELYARD_PORT: '"3112' }, 'KERNELYARD_PORT="3112: must be a whole number.'],
    [{ KERNELYARD_DATA_DIR: "\u200b/srv" }, "KERNELYARD_DATA_DIR=<U+200B>/srv: must be an absolute path."],
    [
      { "\ufeffKERNELYARD_PORT": "3112" },
      "<U+FEFF>KERNELYARD_PORT: no such setting; did you mean KERNELYARD_PORT?",
    ],
    [{ "KERNELYARD_PORT ": "3112" }, "KERNELYARD_PORT : no such setting; did you mean KERNELYARD_PORT?"],
    [{ '"KERNELYARD_PORT"': "3112" }, '"KERNELYARD_PORT": no such setting; did you mean KERNELYARD_PORT?'],
  ])("shows the character that it cannot use: %j", (env, message) => {
    expect(problems(env)).toEqual([expect.stringContaining(message)]);
  });

  it("leaves the names of others alone", () => {
    expect(problems({ MY_KERNELYARD_PORT: "x", OTHER: '"\r' })).toEqual([]);
  });

  it.each([
    [
      "KERNELYARD_PORT",
      "99999",
      "KERNELYARD_PORT=99999: must be between 0 and 65535. Correct it, or remove it for the default 3112.",
    ],
    [
      "KERNELYARD_MEMORY",
      "5x",
      "KERNELYARD_MEMORY=5x: must be a size such as 512m or 2g. Correct it, or remove it for the default 512m.",
    ],
    [
      "KERNELYARD_MEMORY",
      "192m",
      "KERNELYARD_MEMORY=192m: must be between 268435456 and 274877906944 bytes. Correct it, or remove it for the default 512m.",
    ],
    [
      "KERNELYARD_DATA_DIR",
      "data",
      "KERNELYARD_DATA_DIR=data: must be an absolute path. Correct it, or remove it for the default /var/lib/kernelyard.",
    ],
    [
      "KERNELYARD_LAUNCHER_SOCKET",
      "launcher.sock",
      "KERNELYARD_LAUNCHER_SOCKET=launcher.sock: must be an absolute path. Correct it, or remove it.",
    ],
    [
      "KERNELYARD_AUTH",
      "none,jwt",
      "KERNELYARD_AUTH=none,jwt: `none` cannot be combined. Correct it, or remove it for the default api-key,jwt.",
    ],
    [
      "KERNELYARD_ISOLATION",
      "runc",
      'KERNELYARD_ISOLATION=runc: Invalid option: expected one of "runsc"|"runc-unsafe". Correct it, or remove it for the default runsc.',
    ],
    [
      "KERNELYARD_PIDS",
      "100",
      "KERNELYARD_PIDS=100: must be between 512 and 32768. Correct it, or remove it for the default 1024.",
    ],
    [
      "KERNELYARD_PROT",
      "1",
      "KERNELYARD_PROT: no such setting; did you mean KERNELYARD_PORT? Otherwise remove it.",
    ],
    [
      "KERNELYARD_SOMETHING_ELSE_ENTIRELY",
      "1",
      "KERNELYARD_SOMETHING_ELSE_ENTIRELY: no such setting; remove it; docs/settings.md lists every setting.",
    ],
  ])("refuses %s=%s", (name, value, message) => {
    expect(problems({ [name]: value })).toEqual([message]);
  });

  it("takes a default from another setting", () => {
    expect(readSettings({})).toMatchObject({
      timeoutMs: 300_000,
      busyWaitMs: 300_000,
      busyInterruptMs: null,
    });
    expect(readSettings({ KERNELYARD_TIMEOUT_MS: "5000" })).toMatchObject({ busyWaitMs: 5000 });
    expect(readSettings({ KERNELYARD_TIMEOUT_MS: "5000", KERNELYARD_BUSY_WAIT_MS: "9000" })).toMatchObject({
      busyWaitMs: 9000,
    });
  });

  it("names every problem at once", () => {
    expect(problems({ KERNELYARD_PORT: "x", KERNELYARD_CPUS: "x", KERNELYARD_X: "1" })).toHaveLength(3);
  });

  it("never repeats a secret", () => {
    const message = problems({
      KERNELYARD_JWT_PUBLIC_KEY: "secret",
      KERNELYARD_JWT_JWKS_URL: "secret",
    }).join();
    expect(message).toContain("KERNELYARD_JWT_JWKS_URL");
    expect(
      problems({ KERNELYARD_JWT_PUBLIC_KEY: "s3cret", KERNELYARD_JWT_JWKS_URL: "https://a/b" }).join(),
    ).not.toContain("s3cret");
  });

  it.each([
    [
      { KERNELYARD_TIMEOUT_MS: "400000" },
      "KERNELYARD_TIMEOUT_MS=400000: is longer than KERNELYARD_TIMEOUT_MAX_MS=300000",
    ],
    [
      { KERNELYARD_BUSY_WAIT_MS: "15000" },
      "KERNELYARD_BUSY_WAIT_MS=15000: is shorter than KERNELYARD_TIMEOUT_MS=300000",
    ],
    [{ KERNELYARD_FRESH_DISK: "600m" }, "KERNELYARD_FRESH_DISK"],
    [{ KERNELYARD_MEMORY_BUDGET: "256m" }, "not even one sandbox fits"],
    [
      { KERNELYARD_JWT_PUBLIC_KEY: "x", KERNELYARD_JWT_JWKS_URL: "https://a/b" },
      "only one can verify tokens",
    ],
    [{ KERNELYARD_LAUNCHER_SOCKET: `/${"x".repeat(120)}` }, "KERNELYARD_LAUNCHER_SOCKET"],
    [{ KERNELYARD_FILE_STORE: "s3", KERNELYARD_S3_REGION: "eu-central-1" }, "Set KERNELYARD_S3_BUCKET"],
    [{ KERNELYARD_FILE_STORE: "s3", KERNELYARD_S3_BUCKET: "files" }, "Set KERNELYARD_S3_REGION"],
    [{ KERNELYARD_AUDIT_S3_BUCKET: "audit" }, "KERNELYARD_AUDIT_S3_BUCKET: needs to know where"],
    [
      {
        KERNELYARD_AUDIT_S3_BUCKET: "audit",
        KERNELYARD_S3_REGION: "eu-central-1",
        KERNELYARD_AUDIT_DAYS: "0",
      },
      "there is no audit log to copy",
    ],
    [{ KERNELYARD_AUDIT_S3_PREFIX: "a" }, "without effect while KERNELYARD_AUDIT_S3_BUCKET is not set"],
    [
      {
        KERNELYARD_AUDIT_S3_BUCKET: "audit",
        KERNELYARD_S3_ENDPOINT: "https://s3.example.org",
        KERNELYARD_S3_BUCKET: "files",
      },
      "KERNELYARD_S3_BUCKET: without effect while KERNELYARD_FILE_STORE is disk",
    ],
    [{ KERNELYARD_AUDIT_S3_BUCKET: "Audit" }, "must be the name of a bucket"],
    [
      { KERNELYARD_S3_BUCKET: "files", KERNELYARD_S3_PREFIX: "a" },
      "KERNELYARD_S3_BUCKET, KERNELYARD_S3_PREFIX: without effect while KERNELYARD_FILE_STORE is disk",
    ],
  ])("refuses what contradicts itself: %j", (env, part) => {
    const found = problems(env);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(part);
  });
});

describe("a fleet", () => {
  const FLEET = {
    KERNELYARD_FLEET_URL: "rediss://:hidden@valkey.example:6379",
    KERNELYARD_FLEET_ADDRESS: "10.0.0.5:3114",
    KERNELYARD_FLEET_KEY: "k".repeat(32),
    KERNELYARD_AUTH: "api-key",
    KERNELYARD_API_KEYS: "test-key-0123456789",
    KERNELYARD_FILE_STORE: "s3",
    KERNELYARD_S3_BUCKET: "files",
    KERNELYARD_S3_REGION: "eu-central-1",
  };
  const without = (...names: readonly string[]) =>
    problems(Object.fromEntries(Object.entries(FLEET).filter(([name]) => !names.includes(name))));

  it("needs an engine, an address and a key", () => {
    expect(problems(FLEET)).toEqual([]);
    expect(without("KERNELYARD_FLEET_ADDRESS")).toEqual([
      expect.stringContaining("needs KERNELYARD_FLEET_ADDRESS"),
    ]);
    expect(without("KERNELYARD_FLEET_KEY")).toEqual([expect.stringContaining("needs KERNELYARD_FLEET_KEY")]);
    expect(without("KERNELYARD_FLEET_URL")).toEqual([
      expect.stringContaining("KERNELYARD_FLEET_ADDRESS: without effect"),
      expect.stringContaining("KERNELYARD_FLEET_KEY: without effect"),
    ]);
  });

  it("takes the certificate of its engine as PEM or base64 of it, for TLS", () => {
    const pem = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
    for (const text of [pem, Buffer.from(pem).toString("base64")]) {
      const all = { ...FLEET, KERNELYARD_FLEET_CA: text };
      expect(problems(all)).toEqual([]);
      expect(readSettings(all).fleetCa?.trim()).toBe(pem.trim());
      expect(problems({ ...all, KERNELYARD_FLEET_URL: "redis://:hidden@valkey.example:6379" })).toEqual([
        expect.stringContaining("KERNELYARD_FLEET_CA: without effect"),
      ]);
    }
    expect(problems({ ...FLEET, KERNELYARD_FLEET_CA: "bm9uZQ==" })).toEqual([
      expect.stringContaining("must be a certificate"),
    ]);
  });

  it("shares files and credentials", () => {
    const disk = without("KERNELYARD_FILE_STORE", "KERNELYARD_S3_BUCKET", "KERNELYARD_S3_REGION");
    expect(disk).toEqual([expect.stringContaining("Set KERNELYARD_FILE_STORE=s3")]);
    expect(without("KERNELYARD_API_KEYS")).toEqual([expect.stringContaining("Set KERNELYARD_API_KEYS")]);
    expect(problems({ ...FLEET, KERNELYARD_AUTH: "api-key,jwt" })).toEqual([
      expect.stringContaining("KERNELYARD_JWT_PUBLIC_KEY or KERNELYARD_JWT_JWKS_URL"),
    ]);
  });

  it.each(["10.0.0.5", "10.0.0.5:0", "10.0.0.5:65536", "http://10.0.0.5:3114", "[::1:3114"])(
    "is not reached at %s",
    (address) => expect(problems({ ...FLEET, KERNELYARD_FLEET_ADDRESS: address })).toHaveLength(1),
  );

  it.each(["[fd00::5]:3114", "host-1.example:3114"])("is reached at %s", (address) =>
    expect(problems({ ...FLEET, KERNELYARD_FLEET_ADDRESS: address })).toEqual([]),
  );

  it("keeps the engine's password and the key to itself", () => {
    const told = problems({
      ...FLEET,
      KERNELYARD_FLEET_URL: "http://:hidden@x",
      KERNELYARD_FLEET_KEY: "short",
    }).join();
    expect(told).toContain("KERNELYARD_FLEET_URL");
    expect(told).toContain("at least 32");
    expect(told).not.toMatch(/hidden|short/);
  });
});

it.each([
  ["http://keys.example/jwks", false],
  ["http://127.0.0.1.example/jwks", false],
  ["ftp://127.0.0.1/jwks", false],
  ["https://keys.example/jwks", true],
  ["http://127.0.0.1:8080/jwks", true],
  ["http://[::1]/jwks", true],
])("a key set at %s is taken: %s", (url, taken) => {
  const told = problems({ KERNELYARD_JWT_JWKS_URL: url });
  if (taken) expect(told).toEqual([]);
  else expect(told.join()).toMatch(/KERNELYARD_JWT_JWKS_URL.*https/);
});
