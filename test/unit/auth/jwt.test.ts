import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { createServer } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { keyId } from "../../../gateway/common/keys/jwt-pair.ts";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { createAuthentication } from "../../../gateway/server/auth/authenticate.ts";
import type { AuthDecision } from "../../../gateway/server/auth/authenticator.ts";
import { JwtAuthenticator, parsePublicKey, remoteKeySet } from "../../../gateway/server/auth/jwt.ts";
import { TokenSigner } from "../../support/librechat/tokens.ts";

const pem = (key: KeyObject, type: "pkcs8" | "spki") => key.export({ type, format: "pem" }).toString();
const pair = generateKeyPairSync("ed25519");
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const stranger = generateKeyPairSync("ed25519");
/** As `npm start` and stacks name the pair in LibreChat's environment. */
const KID = keyId(pair.publicKey);
const signer = new TokenSigner(pem(pair.privateKey, "pkcs8"), KID);
const alice = { id: "64f000000000000000000001" };

const rules = { issuer: "librechat", audience: "codeapi", maxLifetimeS: 300 };
const authenticator = () => new JwtAuthenticator(parsePublicKey(pem(pair.publicKey, "spki")), rules);
const ask = async (token: string, by = authenticator()): Promise<AuthDecision> =>
  by.authenticate((name) => (name === "authorization" ? `Bearer ${token}` : undefined));

/** A text as it is; a pattern as a pattern. */
const literally = (why: string | RegExp): RegExp =>
  typeof why === "string" ? new RegExp(why.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")) : why;

const KEY = "a-key-that-is-long-enough";
const authentication = (auth: string) =>
  createAuthentication(
    readSettings({
      KERNELYARD_AUTH: auth,
      KERNELYARD_API_KEYS: KEY,
      KERNELYARD_JWT_PUBLIC_KEY: pem(pair.publicKey, "spki"),
    }),
  );
const decide = async (auth: string, headers: Readonly<Record<string, string>>) => {
  const decision = await authentication(auth).decide((name) => headers[name]);
  return decision.kind === "accepted"
    ? decision.principal.mode
    : [decision.refusal.status, decision.refusal.message];
};

describe("tokens as LibreChat signs them", () => {
  it("are accepted, with EdDSA and with RS256", async () => {
    expect(await ask(signer.sign(alice))).toMatchObject({
      kind: "accepted",
      principal: { mode: "jwt", tenant: "jwt-legacy", subject: alice.id, claims: { role: "USER" } },
    });
    const byRsa = new JwtAuthenticator(parsePublicKey(pem(rsa.publicKey, "spki")), rules);
    const token = new TokenSigner(pem(rsa.privateKey, "pkcs8"), keyId(rsa.publicKey)).sign(alice);
    expect(await ask(token, byRsa)).toMatchObject({ kind: "accepted" });
  });

  it("may be used again: `jti` is no one-time value", async () => {
    const one = authenticator();
    const token = signer.sign(alice);
    const first = await ask(token, one);
    expect(await ask(token, one)).toBe(first);
  });

  it("name their tenant; without one it is `legacy`", async () => {
    expect(await ask(signer.sign({ ...alice, tenant: "acme" }))).toMatchObject({
      principal: { tenant: "jwt-acme" },
    });
    expect(await ask(signer.sign(alice, { claims: { tenant_id: undefined } }))).toMatchObject({
      principal: { tenant: "jwt-legacy" },
    });
  });

  const now = Math.floor(Date.now() / 1000);
  it.each([
    ["without kid", signer.sign(alice, { header: { kid: undefined } }), `no kid: the key here is "${KID}"`],
    ["with an empty kid", signer.sign(alice, { header: { kid: "" } }), "no kid"],
    ["of an unknown kid", signer.sign(alice, { header: { kid: "k1" } }), 'unknown kid "k1": the key here is'],
    [
      "of another issuer",
      signer.sign(alice, { claims: { iss: "someone" } }),
      'issuer is "someone", not "librechat"',
    ],
    [
      "for another audience",
      signer.sign(alice, { claims: { aud: ["x"] } }),
      'audience is ["x"], not "codeapi"',
    ],
    [
      "that live too long",
      signer.sign(alice, { claims: { exp: now + 3600 } }),
      "good for 3600 s; at most 300 s",
    ],
    ["that live backwards", signer.sign(alice, { claims: { exp: now - 1 } }), "good for -1 s"],
    [
      "that have expired",
      signer.sign(alice, { claims: { iat: now - 400, nbf: now - 400, exp: now - 100 } }),
      /expired 10\d s ago, made 40\d s ago; .* off by about 37\d s/,
    ],
    [
      "that are too old",
      signer.sign(alice, { claims: { iat: now - 400, nbf: now - 400 } }),
      /is too old, made 40\d s ago; .* off by about 37\d s/,
    ],
    [
      "from the future",
      signer.sign(alice, { claims: { iat: now + 100, nbf: now + 100, exp: now + 200 } }),
      /made (9\d|100) s in the future: the clock here or LibreChat's is off by about (9\d|100) s/,
    ],
    ["without sub", signer.sign(alice, { claims: { sub: undefined } }), '"sub" is missing'],
    ["with an empty sub", signer.sign(alice, { claims: { sub: "" } }), '"sub" is not as LibreChat'],
    ["without jti", signer.sign(alice, { claims: { jti: undefined } }), '"jti" is missing'],
    ["without iat", signer.sign(alice, { claims: { iat: undefined } }), '"iat" is missing'],
    ["without nbf", signer.sign(alice, { claims: { nbf: undefined } }), '"nbf" is missing'],
    ["without exp", signer.sign(alice, { claims: { exp: undefined } }), '"exp" is missing'],
    [
      "without principal_source",
      signer.sign(alice, { claims: { principal_source: undefined } }),
      '"principal_source" is missing',
    ],
    [
      "of an unknown principal_source",
      signer.sign(alice, { claims: { principal_source: "me" } }),
      '"principal_source" is not as LibreChat',
    ],
    [
      "without auth_context_hash",
      signer.sign(alice, { claims: { auth_context_hash: undefined } }),
      '"auth_context_hash" is missing',
    ],
    [
      "with a tenant that is no text",
      signer.sign(alice, { claims: { tenant_id: 7 } }),
      '"tenant_id" is not as LibreChat',
    ],
    [
      "by another key",
      new TokenSigner(pem(stranger.privateKey, "pkcs8"), KID).sign(alice),
      "another key signed it: CODEAPI_JWT_PRIVATE_KEY_BASE64",
    ],
    [
      "by another kind of key",
      new TokenSigner(pem(rsa.privateKey, "pkcs8"), KID).sign(alice),
      "its algorithm is not that of the key",
    ],
    ["that are no tokens", "abc", "no kid"],
    ["that are far too long", "a".repeat(9000), "longer than 8192 characters"],
  ])("are refused %s: the caller hears that alone, the log why", async (_, token, why) => {
    expect(await ask(token)).toEqual({
      kind: "refused",
      refusal: { status: 401, message: "Invalid bearer token", why: expect.stringMatching(literally(why)) },
    });
  });

  it("never put more of a stranger's words into the log than a few", async () => {
    const decision = await ask(signer.sign(alice, { header: { kid: `\n${"x".repeat(5000)}` } }));
    const why = decision.kind === "refused" ? decision.refusal.why : undefined;
    expect(why?.length).toBeLessThan(250);
    expect(why).not.toContain("\n");
  });

  it("are refused without a signature, and signed with the public key as a shared secret", async () => {
    const [, claims] = signer.sign(alice).split(".");
    const head = (alg: string) => Buffer.from(JSON.stringify({ alg, kid: KID })).toString("base64url");
    const unsigned = `${head("none")}.${claims}.`;
    const input = `${head("HS256")}.${claims}`;
    const hmac = createHmac("sha256", pem(pair.publicKey, "spki")).update(input).digest("base64url");
    for (const token of [unsigned, `${input}.${hmac}`]) {
      expect(await ask(token)).toMatchObject({ kind: "refused", refusal: { status: 401 } });
    }
  });

  it("tolerate clocks that differ by seconds", async () => {
    const at = Math.floor(Date.now() / 1000) + 20;
    expect(await ask(signer.sign(alice, { claims: { iat: at, nbf: at, exp: at + 300 } }))).toMatchObject({
      kind: "accepted",
    });
  });
});

describe("the key's name", () => {
  it("is a digest of the key, as it is printed for LibreChat, or what the operator calls it", async () => {
    const key = { KERNELYARD_AUTH: "jwt", KERNELYARD_JWT_PUBLIC_KEY: pem(pair.publicKey, "spki") };
    const accepts = async (kid: string, env: Record<string, string>) => {
      const bearer = `Bearer ${signer.sign(alice, { header: { kid } })}`;
      const decision = await createAuthentication(readSettings(env)).decide((name) =>
        name === "authorization" ? bearer : undefined,
      );
      return decision.kind;
    };
    expect(KID).toMatch(/^kernelyard-[0-9a-f]{16}$/);
    expect(await accepts(KID, key)).toBe("accepted");
    expect(await accepts("ours", key)).toBe("refused");
    const named = { ...key, KERNELYARD_JWT_KID: "ours" };
    expect(await accepts("ours", named)).toBe("accepted");
    expect(await accepts(KID, named)).toBe("refused");
  });
});

describe("what came without a credential that is accepted", () => {
  it.each([
    ["api-key,jwt", {}, "no credentials: LibreChat 0.8.6 and newer sends a token with CODEAPI_JWT_ENABLED"],
    ["jwt", { "x-api-key": KEY }, "an API key came, and KERNELYARD_AUTH accepts tokens only"],
    ["api-key", { authorization: "Bearer x" }, "a token came, and KERNELYARD_AUTH accepts API keys only"],
    ["api-key", {}, "no credentials: LibreChat 0.8.6 and newer never sends a key"],
    ["api-key", { "x-api-key": "x".repeat(600) }, "no key of KERNELYARD_API_KEYS"],
    ["jwt", { authorization: "Basic eDp5" }, "the Authorization header holds no bearer token"],
  ] as const)("%s, %o: %s", async (auth, headers, why) => {
    const decision = await authentication(auth).decide(
      (name) => (headers as Readonly<Record<string, string>>)[name],
    );
    expect(decision).toMatchObject({ kind: "refused", refusal: { why: expect.stringContaining(why) } });
    expect(JSON.stringify(decision)).not.toContain(KEY);
  });
});

describe("the key", () => {
  it("may be PEM, PEM with written-out line ends, or base64 of it", () => {
    const text = pem(pair.publicKey, "spki");
    for (const setting of [text, text.replaceAll("\n", "\\n"), Buffer.from(text).toString("base64")]) {
      expect(parsePublicKey(setting).algorithms).toContain("EdDSA");
    }
  });

  it.each([
    ["a private key", pem(pair.privateKey, "pkcs8"), /private key, which belongs to LibreChat alone/],
    ["noise", "noise", /no public key in PEM form/],
    [
      "a short RSA key",
      pem(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey, "spki"),
      /at least 2048 bits/,
    ],
    [
      "another kind",
      pem(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey, "spki"),
      /keys of type ec are not accepted/,
    ],
  ])("is refused with its remedy: %s", (_, setting, message) => {
    expect(() => parsePublicKey(setting)).toThrow(message);
  });
});

describe("a key set by address", () => {
  const servers: { close(): void }[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });
  const serve = (status: number, body: string) =>
    new Promise<string>((resolve) => {
      const server = createServer((_, response) => {
        response.writeHead(status, { "Content-Type": "application/json" }).end(body);
      }).listen(0, "127.0.0.1", () => {
        servers.push(server);
        const address = server.address();
        if (address === null || typeof address === "string") throw new Error("no port");
        resolve(`http://127.0.0.1:${address.port}/keys`);
      });
    });
  const jwk = { ...pair.publicKey.export({ format: "jwk" }), kid: KID, alg: "EdDSA" };

  it("is searched by kid", async () => {
    const by = new JwtAuthenticator(remoteKeySet(await serve(200, JSON.stringify({ keys: [jwk] }))), rules);
    expect(await ask(signer.sign(alice), by)).toMatchObject({ kind: "accepted" });
    expect(await ask(signer.sign(alice, { header: { kid: "k2" } }), by)).toMatchObject({
      refusal: {
        status: 401,
        why: 'unknown kid "k2": the key set at KERNELYARD_JWT_JWKS_URL does not have it',
      },
    });
  });

  it.each([
    ["an error", 500, "{}"],
    ["no JSON", 200, "<html>"],
    ["no key set", 200, "{}"],
  ])("that answers with %s is the service's fault, not the caller's", async (_, status, body) => {
    const by = new JwtAuthenticator(remoteKeySet(await serve(status, body)), rules);
    expect(await ask(signer.sign(alice), by)).toMatchObject({ kind: "refused", refusal: { status: 503 } });
  });

  it("that nobody serves is the service's fault as well", async () => {
    const url = await serve(200, "{}");
    for (const server of servers.splice(0)) server.close();
    const by = new JwtAuthenticator(remoteKeySet(url), rules);
    expect(await ask(signer.sign(alice), by)).toMatchObject({ refusal: { status: 503 } });
  });
});

describe("modes together", () => {
  const bearer = () => `Bearer ${signer.sign(alice)}`;
  it.each([
    ["api-key,jwt", { "x-api-key": KEY }, "api-key"],
    ["api-key,jwt", { authorization: bearer() }, "jwt"],
    ["api-key,jwt", { authorization: bearer(), "x-api-key": KEY }, [400, "Ambiguous authentication headers"]],
    ["jwt", { authorization: bearer(), "x-api-key": KEY }, [400, "Ambiguous authentication headers"]],
    ["api-key,jwt", {}, [401, "Bearer token is required"]],
    ["jwt", {}, [401, "Bearer token is required"]],
    ["jwt", { authorization: "Basic eDp5" }, [401, "Bearer token is required"]],
    ["jwt", { "x-api-key": KEY }, [401, "Bearer token is required"]],
    ["jwt", { authorization: "Bearer x" }, [401, "Invalid bearer token"]],
    ["api-key", {}, [401, "An API key is required in the X-API-Key header"]],
    ["api-key", { "x-api-key": "another-key-of-length" }, [401, "Invalid API key"]],
    ["none", {}, "none"],
    ["none", { authorization: "Bearer x", "x-api-key": "y" }, "none"],
  ] as const)("%s with %o", async (auth, headers, expected) => {
    expect(await decide(auth, headers)).toEqual(expected);
  });

  it("tokens without any key refuse to start and say what to set", () => {
    expect(() => createAuthentication(readSettings({ KERNELYARD_AUTH: "jwt" }))).toThrow(
      /KERNELYARD_JWT_PUBLIC_KEY: .*KERNELYARD_JWT_JWKS_URL/,
    );
  });

  it("no API key can name a tenant of tokens", () => {
    const settings = readSettings({ KERNELYARD_AUTH: "api-key", KERNELYARD_API_KEYS: `jwt-legacy=${KEY}` });
    expect(() => createAuthentication(settings)).toThrow(/kept for tenants of tokens/);
  });
});
