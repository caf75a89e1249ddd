/** `X-CodeAPI-Expected-Profile`: this service serves both of LibreChat's execution profiles on one base. */
import type { AppContext } from "./context.ts";
import { ServiceError } from "./errors.ts";
import { responseHeader } from "./response-header.ts";

const PROFILES = ["default", "stateful"] as const;
type Profile = (typeof PROFILES)[number];

const EXPECTED = "X-CodeAPI-Expected-Profile";
const IN_FORCE = "X-CodeAPI-Execution-Profile";

/** Checks the header and answers with the profile in force: the expected one, or what the call amounts to. */
export function applyProfile(c: AppContext, otherwise: Profile): void {
  const expected = c.req.header(EXPECTED);
  if (expected === undefined) {
    responseHeader(c, IN_FORCE, otherwise);
    return;
  }
  const known = PROFILES.find((profile) => profile === expected);
  if (known === undefined) {
    throw new ServiceError(
      "invalid_execution_profile",
      `\`${EXPECTED}\` must be one of ${PROFILES.join(", ")}`,
      { extra: { expected_profile: expected.slice(0, 64), actual_profile: otherwise } },
    );
  }
  responseHeader(c, IN_FORCE, known);
}
