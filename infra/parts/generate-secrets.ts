/** Prints new keys as one line of JSON, for a stack that has none. Run by the deployment; its output is a secret. */
import { randomBytes } from "node:crypto";
import { newApiKey } from "../../gateway/common/keys/api-key.ts";
import { newJwtPair } from "../../gateway/common/keys/jwt-pair.ts";
import type { GeneratedKeys } from "./secrets.ts";

const pair = newJwtPair();
const keys: GeneratedKeys = {
  apiKey: newApiKey(),
  registryPassword: randomBytes(24).toString("base64url"),
  jwtPrivateKeyPem: pair.privateKeyPem,
  jwtPublicKeyPem: pair.publicKeyPem,
  jwtKid: pair.kid,
};
process.stdout.write(`${JSON.stringify(keys)}\n`);
