import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type Announcement, announcement, ownUrl } from "../../../gateway/cli/start/announce.ts";
import { HEALTH } from "../sessions/launcher-stand-in.ts";

const print = (more: Partial<Announcement> = {}) =>
  announcement({
    host: "127.0.0.1",
    port: 3112,
    bridge: "172.17.0.1",
    health: HEALTH,
    profiles: ["analyst", "default", "documents"],
    apiKey: { key: "ky_1", path: "/keys/api-key", created: true },
    jwt: { privateKeyPem: "PEM", publicKeyPem: "", kid: "k1", path: "/keys/pair.pem", created: true },
    operatorKey: { key: "ky_2", path: "/keys/operator-key", created: true },
    console: { host: "127.0.0.1", port: 3115 },
    ownKid: null,
    dataDirectory: "/var/lib/kernelyard",
    auth: ["api-key", "jwt"],
    issuer: "librechat",
    audience: "codeapi",
    maxLifetimeSeconds: 300,
    ...more,
  });

describe("what npm start prints", () => {
  it("says in one line which profile runs and how to get another", () => {
    expect(print()).toMatch(
      /^ {2}profile {5}default {3}\(another: npm start -- --profile analyst\|documents; README says which/m,
    );
    const [own] = HEALTH.profiles;
    if (own === undefined) throw new Error("the stand-in has an image");
    const text = print({
      health: { ...HEALTH, profiles: [own, { name: "documents", image: "d", digest: "sha256:2" }] },
    });
    expect(text).toContain("profile documents sha256:2");
    expect(text).toContain("--profile analyst; README");
  });

  it("says where the console is and where its key, never the key", () => {
    expect(print()).toContain("  console     http://127.0.0.1:3115   (key in /keys/operator-key)");
    expect(print()).not.toContain("ky_2");
    expect(print({ operatorKey: null })).toMatch(/^ {2}console {5}http:\/\/127\.0\.0\.1:3115$/m);
    expect(print({ console: null })).not.toContain("  console ");
  });

  it("has the yaml lines as yaml, with the address in them", () => {
    const text = print();
    const block = text.slice(text.indexOf("  endpoints:"), text.indexOf("LibreChat in a container"));
    expect(parse(block.replaceAll(/^ {2}/gm, ""))).toMatchObject({
      endpoints: {
        agents: {
          statefulCodeSessions: {
            environments: [{ type: "managed", baseURL: "http://127.0.0.1:3112/v1", default: true }],
          },
        },
      },
    });
  });

  it("has none of it for clients that know of no sessions", () => {
    expect(print({ auth: ["api-key"] })).not.toContain("librechat.yaml");
  });

  it.each([
    ["127.0.0.1", "http://127.0.0.1:3112", "start it with KERNELYARD_HOST=172.17.0.1 npm start"],
    ["172.17.0.1", "http://172.17.0.1:3112", "http://host.docker.internal:3112/v1 is the same"],
    ["0.0.0.0", "http://127.0.0.1:3112", "write http://host.docker.internal:3112/v1 instead"],
    ["::", "http://127.0.0.1:3112", 'extra_hosts: ["host.docker.internal:host-gateway"]'],
    ["fd00::1", "http://[fd00::1]:3112", "LIBRECHAT_CODE_BASEURL=http://[fd00::1]:3112/v1"],
  ])("says for %s how it is reached, from a container too", (host, url, container) => {
    expect(ownUrl(host, 3112)).toBe(url);
    const text = print({ host });
    expect(text).toContain(`endpoint    ${url} `);
    expect(text).toContain(container);
    expect(text).not.toContain("//0.0.0.0");
  });

  it("names the bridge as it is on this machine", () => {
    expect(print({ bridge: "10.200.0.1" })).toContain("start it with KERNELYARD_HOST=10.200.0.1 npm start");
    expect(print({ bridge: null })).toContain("KERNELYARD_HOST=ADDRESS-OF-THE-BRIDGE npm start");
  });
});
