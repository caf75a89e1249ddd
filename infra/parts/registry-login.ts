/** Flags of the `docker` command that bring a registry's credentials, from a folder that is gone afterwards. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ImageOrder } from "./image-order.ts";

export interface RegistryLogin {
  readonly flags: readonly string[];
  readonly end: () => void;
}

/** `user:password`, or null where none is asked for. */
async function credentials(registry: NonNullable<ImageOrder["registry"]>): Promise<string | null> {
  switch (registry.kind) {
    case "open":
      return null;
    case "password":
      return `${registry.username}:${readFileSync(0, "utf8").trim()}`;
    case "ecr":
      return ecrToken(registry.region);
  }
}

/** Lasts twelve hours. By the credentials that the AWS provider finds as well. */
async function ecrToken(region: string): Promise<string> {
  const { ECRClient, GetAuthorizationTokenCommand } = await import("@aws-sdk/client-ecr");
  const client = new ECRClient({ region });
  try {
    const reply = await client.send(new GetAuthorizationTokenCommand({}));
    const token = reply.authorizationData?.[0]?.authorizationToken;
    if (token === undefined) throw new Error("ECR gave no token.");
    return Buffer.from(token, "base64").toString("utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `No login to ECR in ${region}: ${reason}\nThe update needs AWS credentials that may call ecr:GetAuthorizationToken.`,
    );
  } finally {
    client.destroy();
  }
}

export async function registryLogin(registry: NonNullable<ImageOrder["registry"]>): Promise<RegistryLogin> {
  const auth = await credentials(registry);
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-registry-"));
  const auths =
    auth === null || registry.kind === "open"
      ? {}
      : { [registry.server]: { auth: Buffer.from(auth).toString("base64") } };
  writeFileSync(join(folder, "config.json"), JSON.stringify({ auths }), { mode: 0o600 });
  return {
    flags: ["--config", folder],
    end: () => rmSync(folder, { recursive: true, force: true }),
  };
}
