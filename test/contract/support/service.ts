/** The running service, as LibreChat would be pointed at it: an address, a key, and a pair to sign tokens with. */
import { join } from "node:path";
import { newJwtPair } from "../../../gateway/common/keys/jwt-pair.ts";
import { librechatEnvironment } from "../../../gateway/common/librechat/environment.ts";
import { LauncherClient } from "../../../gateway/common/protocol/launcher-client.ts";
import {
  type LibrechatUser,
  parseEnvironment,
  type TokenParts,
  TokenSigner,
} from "../../support/librechat/tokens.ts";
import { type Stack, type StackOptions, startStack } from "../../support/stack.ts";

export const ALICE: LibrechatUser = { id: "64f000000000000000000001" };
export const BOB: LibrechatUser = { id: "64f000000000000000000002" };

export interface Service {
  readonly stack: Stack;
  /** With `/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string;
  /** The launcher's own view of the sandboxes. */
  readonly launcher: LauncherClient;
  /** What LibreChat sends for this user; with `parts` of it as they should not be. */
  authorization(user?: LibrechatUser, parts?: TokenParts): { Authorization: string };
  stop(): Promise<void>;
}

export async function startService(
  env: Readonly<Record<string, string>> = {},
  options: Omit<StackOptions, "env"> = {},
): Promise<Service> {
  const { privateKeyPem, publicKeyPem, kid } = newJwtPair();
  const stack = await startStack({
    ...options,
    env: {
      KERNELYARD_AUTH: "api-key,jwt",
      KERNELYARD_JWT_PUBLIC_KEY: publicKeyPem,
      KERNELYARD_RATE_LIMITS: "off",
      ...env,
    },
  });
  const launcher = new LauncherClient(join(stack.dataDir, "run/launcher.sock"));
  const baseUrl = `${stack.baseUrl}/v1`;
  const shown = { path: "", created: true };
  const environment = parseEnvironment(
    librechatEnvironment({
      baseUrl,
      auth: ["api-key", "jwt"],
      apiKey: { key: stack.apiKey, ...shown },
      jwt: { privateKeyPem, kid, ...shown },
    }),
  );
  const signer = TokenSigner.fromEnvironment(environment);
  return {
    stack,
    baseUrl: environment.get("LIBRECHAT_CODE_BASEURL") ?? "",
    apiKey: environment.get("LIBRECHAT_CODE_API_KEY") ?? "",
    launcher,
    authorization: (user = ALICE, parts = {}) => ({ Authorization: `Bearer ${signer.sign(user, parts)}` }),
    stop: () => {
      launcher.close();
      return stack.stop();
    },
  };
}
