import { describe, expect, it } from "vitest";
import {
  type LibrechatEnvironment,
  librechatEnvironment,
} from "../../../gateway/common/librechat/environment.ts";

const baseUrl = "http://127.0.0.1:3112/v1";
const apiKey = { key: "ky_1", path: "/keys/api-key", created: true };
const jwt = { privateKeyPem: "PEM", kid: "k1", path: "/keys/pair.pem", created: true };
const lines = (options: Omit<LibrechatEnvironment, "baseUrl">) =>
  librechatEnvironment({ baseUrl, ...options })
    .trimEnd()
    .split("\n");

describe("LibreChat's environment", () => {
  it("for tokens, and the key for older versions beside them", () => {
    expect(lines({ auth: ["api-key", "jwt"], apiKey, jwt })).toEqual([
      "LIBRECHAT_CODE_BASEURL=http://127.0.0.1:3112/v1",
      "LIBRECHAT_CODE_BASEURL_STATEFUL=http://127.0.0.1:3112/v1",
      "CODEAPI_JWT_ENABLED=true",
      "CODEAPI_JWT_PRIVATE_KEY_BASE64=UEVN",
      "CODEAPI_JWT_KID=k1",
      "# Only LibreChat 0.8.5 and older send this one:",
      "LIBRECHAT_CODE_API_KEY=ky_1",
    ]);
  });

  it("for a key alone: versions that send one have no stateful sessions", () => {
    expect(lines({ auth: ["api-key"], apiKey, jwt: null })).toEqual([
      "LIBRECHAT_CODE_BASEURL=http://127.0.0.1:3112/v1",
      "LIBRECHAT_CODE_API_KEY=ky_1",
    ]);
  });

  it("for a private network", () => {
    expect(lines({ auth: ["none"], apiKey: null, jwt: null })).toEqual([
      "LIBRECHAT_CODE_BASEURL=http://127.0.0.1:3112/v1",
      "LIBRECHAT_CODE_BASEURL_STATEFUL=http://127.0.0.1:3112/v1",
    ]);
  });

  it("for a key of the operator's own, with the name that it has here", () => {
    const own = { auth: ["jwt"], apiKey: null, jwt: null } as const;
    expect(lines({ ...own, auth: ["jwt"], ownKid: "ours" }).slice(2)).toEqual([
      "CODEAPI_JWT_ENABLED=true",
      "# CODEAPI_JWT_PRIVATE_KEY_BASE64: your own key's private half",
      "CODEAPI_JWT_KID=ours",
    ]);
    expect(lines({ ...own, auth: ["jwt"] })).toContain("# CODEAPI_JWT_KID: its name in your key set");
  });

  it("shows no secret twice, and says how to see it", () => {
    const text = lines({
      auth: ["api-key", "jwt"],
      apiKey: { ...apiKey, created: false },
      jwt: { ...jwt, created: false },
    }).join("\n");
    expect(text).not.toContain("UEVN");
    expect(text).not.toContain("ky_1");
    expect(text).toContain("as root: base64 -w0 /keys/pair.pem");
    expect(text).toContain("as root: cat /keys/api-key");
  });

  it("tells LibreChat what differs from its defaults", () => {
    const differing = { issuer: "me", audience: "you", maxLifetimeSeconds: 60 };
    expect(lines({ auth: ["jwt"], apiKey: null, jwt, ...differing }).slice(-3)).toEqual([
      "CODEAPI_JWT_ISSUER=me",
      "CODEAPI_JWT_AUDIENCE=you",
      "CODEAPI_JWT_TTL_SECONDS=60",
    ]);
  });
});
