/** What an operator adds to LibreChat's `librechat.yaml`, and turns on for an agent, so that sessions keep their state. */

/**
 * Capabilities of agents: LibreChat's own list (`defaultAgentCapabilities` of librechat-data-provider 0.8.524), which a
 * list in the file takes the place of, and the two that have to be asked for.
 */
export const CAPABILITIES = [
  "deferred_tools",
  "execute_code",
  "file_search",
  "web_search",
  "artifacts",
  "subagents",
  "actions",
  "context",
  "skills",
  "memory",
  "ask_user_question",
  "tools",
  "chain",
  "ocr",
  "programmatic_tools",
  "stateful_code_sessions",
] as const;

const PER_LINE = 6;

function capabilityLines(): string[] {
  const lines: string[] = [];
  for (let at = 0; at < CAPABILITIES.length; at += PER_LINE) {
    lines.push(`        ${CAPABILITIES.slice(at, at + PER_LINE).join(", ")},`);
  }
  return lines;
}

/** `baseUrl`: with `/v1`, as in `librechatEnvironment`. */
export function librechatConfiguration(baseUrl: string): string {
  return [
    "# For each agent, in the Agent Builder: turn on Code Interpreter, then, under Advanced, Stateful code sessions.",
    "# Workspace Conversation is a session for each chat; in User all chats of a user share one and wait for each other.",
    "endpoints:",
    "  agents:",
    "    # In the place of LibreChat's own list: its defaults, and the last two.",
    "    capabilities:",
    "      [",
    ...capabilityLines(),
    "      ]",
    "    statefulCodeSessions:",
    "      allowedEnvironments: [conversation, agent-user, user]",
    "      environments:",
    "        - id: kernelyard",
    "          name: Kernelyard",
    "          type: managed",
    `          baseURL: ${baseUrl}`,
    "          default: true",
    "",
  ].join("\n");
}
