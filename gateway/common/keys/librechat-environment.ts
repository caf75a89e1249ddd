/** The text an operator pastes into LibreChat's environment. Names as in its `packages/api/src/auth/codeapi.ts`. */
import type { JwtKeys } from "./jwt-pair.ts";

/** LibreChat's own defaults; a differing value has to be told to it. */
const LIBRECHAT_DEFAULTS = { issuer: "librechat", audience: "codeapi", lifetimeSeconds: 300 };

export interface LibrechatEnvironment {
  /** With `/v1`. */
  readonly baseUrl: string;
  /** For LibreChat 0.8.5 and older. Null: none, or not to be shown. */
  readonly apiKey: string | null;
  /** The generated pair. Null: the operator brought a key of their own, or tokens are off. */
  readonly jwt: Pick<JwtKeys, "privateKeyPem" | "kid" | "path" | "created"> | null;
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  readonly maxLifetimeSeconds?: number | undefined;
}

/** The lines for LibreChat's `.env`. With neither key nor pair they are those of a private network. */
export function librechatEnvironment(options: LibrechatEnvironment): string {
  const { jwt } = options;
  const lines = [`LIBRECHAT_CODE_BASEURL=${options.baseUrl}`];
  if (jwt !== null) {
    lines.push("CODEAPI_JWT_ENABLED=true");
    lines.push(
      jwt.created
        ? `CODEAPI_JWT_PRIVATE_KEY_BASE64=${Buffer.from(jwt.privateKeyPem).toString("base64")}`
        : `# CODEAPI_JWT_PRIVATE_KEY_BASE64 was printed when the pair was made; again: base64 -w0 ${jwt.path}`,
    );
    lines.push(`CODEAPI_JWT_KID=${jwt.kid}`);
    const issuer = options.issuer ?? LIBRECHAT_DEFAULTS.issuer;
    if (issuer !== LIBRECHAT_DEFAULTS.issuer) lines.push(`CODEAPI_JWT_ISSUER=${issuer}`);
    const audience = options.audience ?? LIBRECHAT_DEFAULTS.audience;
    if (audience !== LIBRECHAT_DEFAULTS.audience) lines.push(`CODEAPI_JWT_AUDIENCE=${audience}`);
    const lifetime = options.maxLifetimeSeconds ?? LIBRECHAT_DEFAULTS.lifetimeSeconds;
    if (lifetime < LIBRECHAT_DEFAULTS.lifetimeSeconds) lines.push(`CODEAPI_JWT_TTL_SECONDS=${lifetime}`);
  }
  if (options.apiKey !== null) {
    if (jwt !== null) lines.push("# Only LibreChat 0.8.5 and older send this one:");
    lines.push(`LIBRECHAT_CODE_API_KEY=${options.apiKey}`);
  }
  return `${lines.join("\n")}\n`;
}
