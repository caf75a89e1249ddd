/** What one host tells another with a call, and what is not believed. */
import { createHmac, createSecretKey, hkdfSync, X509Certificate } from "node:crypto";
import { jwtVerify, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { makeCertificate } from "../../../gateway/server/fleet/hop/certificate.ts";
import { HopTokens } from "../../../gateway/server/fleet/hop/token.ts";

const NOW = 1_800_000_000_000;
const HOP = { digest: "digest-of-the-session", epoch: NOW };
const SECRET = "the same for all hosts of the fleet";
const tokens = (host: string, { fleet = "kernelyard", secret = SECRET } = {}) =>
  new HopTokens({ fleet, host, secret });

describe("a hop's token", () => {
  it("says which session in which epoch, and from whom", async () => {
    const token = tokens("a").sign(HOP, "b", NOW);
    expect(tokens("b").verify(token, NOW)).toEqual({ kind: "good", hop: HOP, from: "a" });
    const look = tokens("a").sign({ ...HOP, epoch: null }, "b", NOW);
    expect(tokens("b").verify(look, NOW)).toMatchObject({ kind: "good", hop: { epoch: null } });
  });

  it("is good once", async () => {
    const token = tokens("a").sign(HOP, "b", NOW);
    const b = tokens("b");
    expect(b.verify(token, NOW)).toMatchObject({ kind: "good" });
    expect(b.verify(token, NOW + 1)).toEqual({ kind: "refused", why: "the call came before" });
  });

  it("is good for half a minute, and not before its time", async () => {
    const token = tokens("a").sign(HOP, "b", NOW);
    expect(tokens("b").verify(token, NOW + 29_000)).toMatchObject({ kind: "good" });
    expect(tokens("b").verify(token, NOW - 4_000)).toMatchObject({ kind: "good" });
    expect(tokens("b").verify(token, NOW + 36_000)).toMatchObject({ kind: "refused" });
    expect(tokens("b").verify(token, NOW - 60_000)).toMatchObject({ kind: "refused" });
  });

  it.each([
    ["for another host", tokens("a"), "c"],
    ["of another fleet", tokens("a", { fleet: "another" }), "b"],
    ["with another key", tokens("a", { secret: "of somebody who has read this test only" }), "b"],
  ])("is worth nothing %s", async (_, signer, to) => {
    expect(tokens("b").verify(signer.sign(HOP, to, NOW), NOW)).toMatchObject({ kind: "refused" });
  });

  it("is worth nothing when it is missing, no token, changed, or unsigned", async () => {
    const b = tokens("b");
    const token = tokens("a").sign(HOP, "b", NOW);
    const [head = "", body = "", signature = ""] = token.split(".");
    const other = Buffer.from(
      Buffer.from(body, "base64url").toString().replace("digest-of", "digest-for"),
    ).toString("base64url");
    const none = Buffer.from(JSON.stringify({ alg: "none", typ: "kernelyard-hop+jwt" })).toString(
      "base64url",
    );
    for (const bad of [
      undefined,
      "",
      "x",
      `${head}.${other}.${signature}`,
      `${none}.${body}.`,
      `${head}.${body}.`,
    ]) {
      expect(b.verify(bad, NOW)).toMatchObject({ kind: "refused" });
    }
    expect(b.verify(token, NOW)).toMatchObject({ kind: "good" });
  });
});

describe("a hop's token beside a library's JWT", () => {
  const key = createSecretKey(Buffer.from(hkdfSync("sha256", SECRET, "", "kernelyard hop kernelyard", 32)));
  const second = NOW / 1000;
  const made = (claims: Record<string, unknown> = {}) =>
    new SignJWT({ ...HOP, iss: "a", aud: "b", iat: second, exp: second + 30, jti: "1", ...claims })
      .setProtectedHeader({ alg: "HS256", typ: "kernelyard-hop+jwt" })
      .sign(key);

  it("is one that it reads, and reads its own: hosts of the version before are understood, and understand", async () => {
    const { payload } = await jwtVerify(tokens("a").sign(HOP, "b", NOW), key, {
      algorithms: ["HS256"],
      typ: "kernelyard-hop+jwt",
      audience: "b",
      requiredClaims: ["exp", "iat", "jti", "iss"],
      maxTokenAge: 30,
      currentDate: new Date(NOW),
    });
    expect(payload).toMatchObject({ ...HOP, iss: "a" });
    expect(tokens("b").verify(await made(), NOW)).toEqual({ kind: "good", hop: HOP, from: "a" });
  });

  it.each([
    ["without an id", { jti: undefined }],
    ["without an end", { exp: undefined }],
    ["with a time that is no number", { iat: "now" }],
    ["for several hosts", { aud: ["b", "c"] }],
    ["that ended before it began", { exp: second - 10 }],
  ])("is refused %s, although the key is right", async (_, claims) => {
    expect(tokens("b").verify(await made(claims), NOW)).toMatchObject({ kind: "refused" });
  });

  it("is refused with another header, although the key is right", () => {
    const [, body = ""] = tokens("a").sign(HOP, "b", NOW).split(".");
    for (const header of [{ alg: "HS256" }, { typ: "kernelyard-hop+jwt", alg: "HS256" }]) {
      const head = Buffer.from(JSON.stringify(header)).toString("base64url");
      const signature = createHmac("sha256", key).update(`${head}.${body}`).digest("base64url");
      expect(tokens("b").verify(`${head}.${body}.${signature}`, NOW)).toMatchObject({ kind: "refused" });
    }
  });
});

describe("a host's certificate", () => {
  it("is one that others can read, signed by its own key, and new every time", () => {
    const { certPem, keyPem, sha256 } = makeCertificate();
    const read = new X509Certificate(certPem);
    expect(read.verify(read.publicKey)).toBe(true);
    expect(read.fingerprint256.replaceAll(":", "").toLowerCase()).toBe(sha256);
    expect(read.subject).toBe("CN=kernelyard");
    expect(read.validToDate.getUTCFullYear()).toBe(9999);
    expect(keyPem).toContain("PRIVATE KEY");
    expect(makeCertificate().sha256).not.toBe(sha256);
  });
});
