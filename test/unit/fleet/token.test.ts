/** What one host tells another with a call, and what is not believed. */
import { X509Certificate } from "node:crypto";
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
    const token = await tokens("a").sign(HOP, "b", NOW);
    expect(await tokens("b").verify(token, NOW)).toEqual({ kind: "good", hop: HOP, from: "a" });
    const look = await tokens("a").sign({ ...HOP, epoch: null }, "b", NOW);
    expect(await tokens("b").verify(look, NOW)).toMatchObject({ kind: "good", hop: { epoch: null } });
  });

  it("is good once", async () => {
    const token = await tokens("a").sign(HOP, "b", NOW);
    const b = tokens("b");
    expect(await b.verify(token, NOW)).toMatchObject({ kind: "good" });
    expect(await b.verify(token, NOW + 1)).toEqual({ kind: "refused", why: "the call came before" });
  });

  it("is good for half a minute, and not before its time", async () => {
    const token = await tokens("a").sign(HOP, "b", NOW);
    expect(await tokens("b").verify(token, NOW + 29_000)).toMatchObject({ kind: "good" });
    expect(await tokens("b").verify(token, NOW - 4_000)).toMatchObject({ kind: "good" });
    expect(await tokens("b").verify(token, NOW + 36_000)).toMatchObject({ kind: "refused" });
    expect(await tokens("b").verify(token, NOW - 60_000)).toMatchObject({ kind: "refused" });
  });

  it.each([
    ["for another host", tokens("a"), "c"],
    ["of another fleet", tokens("a", { fleet: "another" }), "b"],
    ["with another key", tokens("a", { secret: "of somebody who has read this test only" }), "b"],
  ])("is worth nothing %s", async (_, signer, to) => {
    expect(await tokens("b").verify(await signer.sign(HOP, to, NOW), NOW)).toMatchObject({ kind: "refused" });
  });

  it("is worth nothing when it is missing, no token, changed, or unsigned", async () => {
    const b = tokens("b");
    const token = await tokens("a").sign(HOP, "b", NOW);
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
      expect(await b.verify(bad, NOW)).toMatchObject({ kind: "refused" });
    }
    expect(await b.verify(token, NOW)).toMatchObject({ kind: "good" });
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
