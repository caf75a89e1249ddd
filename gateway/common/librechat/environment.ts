/** The text an operator pastes into LibreChat's `.env`. Names as in its `packages/api/src/auth/codeapi.ts` and `agents/execution.ts`. */
import type { JwtKeys } from "../keys/jwt-pair.ts";
import type { Settings } from "../settings/read.ts";

/** LibreChat's own defaults; a differing value has to be told to it. */
const LIBRECHAT_DEFAULTS = { issuer: "librechat", audience: "codeapi", lifetimeSeconds: 300 };

/** A secret that may have been shown before: then it is told where it lies. */
interface Shown {
  readonly path: string;
  /** True: it was made just now, or its reader has no other way to see it. */
  readonly created: boolean;
}

export interface LibrechatEnvironment {
  /** With `/v1`. */
  readonly baseUrl: string;
  readonly auth: Settings["auth"];
  /** For LibreChat 0.8.5 and older. Null: the operator brought keys of their own, or keys are off. */
  readonly apiKey: (Shown & { readonly key: string }) | null;
  /** The generated pair. Null: the operator brought a key of their own, or tokens are off. */
  readonly jwt: (Shown & Pick<JwtKeys, "privateKeyPem" | "kid">) | null;
  /** The name of the operator's own key, where it is one key; null: a key set has the names. */
  readonly ownKid?: string | null | undefined;
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  readonly maxLifetimeSeconds?: number | undefined;
}

/** LibreChat has sessions that keep their state since 0.8.8, which proves itself by tokens or not at all. */
export const hasStatefulSessions = (auth: Settings["auth"]): boolean =>
  auth.includes("jwt") || auth.includes("none");

const again = (name: string, command: string) =>
  `# ${name} was printed when it was made. To see it again, as root: ${command}`;

/** The lines for LibreChat's `.env`. */
export function librechatEnvironment(options: LibrechatEnvironment): string {
  const { baseUrl, auth, apiKey } = options;
  const tokens = auth.includes("jwt");
  const lines = [`LIBRECHAT_CODE_BASEURL=${baseUrl}`];
  if (hasStatefulSessions(auth)) lines.push(`LIBRECHAT_CODE_BASEURL_STATEFUL=${baseUrl}`);
  if (tokens) lines.push("CODEAPI_JWT_ENABLED=true", ...keyLines(options), ...claimLines(options));
  if (apiKey !== null) {
    if (tokens) lines.push("# Only LibreChat 0.8.5 and older send this one:");
    lines.push(
      apiKey.created
        ? `LIBRECHAT_CODE_API_KEY=${apiKey.key}`
        : again("LIBRECHAT_CODE_API_KEY", `cat ${apiKey.path}`),
    );
  }
  return `${lines.join("\n")}\n`;
}

function keyLines({ jwt, ownKid }: LibrechatEnvironment): string[] {
  const name = "CODEAPI_JWT_PRIVATE_KEY_BASE64";
  if (jwt === null) {
    return [
      `# ${name}: your own key's private half`,
      ownKid ? `CODEAPI_JWT_KID=${ownKid}` : "# CODEAPI_JWT_KID: its name in your key set",
    ];
  }
  const key = jwt.created
    ? `${name}=${Buffer.from(jwt.privateKeyPem).toString("base64")}`
    : again(name, `base64 -w0 ${jwt.path}`);
  return [key, `CODEAPI_JWT_KID=${jwt.kid}`];
}

function claimLines(options: LibrechatEnvironment): string[] {
  const issuer = options.issuer ?? LIBRECHAT_DEFAULTS.issuer;
  const audience = options.audience ?? LIBRECHAT_DEFAULTS.audience;
  const lifetime = options.maxLifetimeSeconds ?? LIBRECHAT_DEFAULTS.lifetimeSeconds;
  const lines: string[] = [];
  if (issuer !== LIBRECHAT_DEFAULTS.issuer) lines.push(`CODEAPI_JWT_ISSUER=${issuer}`);
  if (audience !== LIBRECHAT_DEFAULTS.audience) lines.push(`CODEAPI_JWT_AUDIENCE=${audience}`);
  if (lifetime < LIBRECHAT_DEFAULTS.lifetimeSeconds) lines.push(`CODEAPI_JWT_TTL_SECONDS=${lifetime}`);
  return lines;
}
