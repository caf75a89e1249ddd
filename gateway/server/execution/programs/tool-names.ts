/** Which identifier a tool's name becomes in bash; the same rule as the client's, which scans the code for it. */

const KEYWORDS: ReadonlySet<string> = new Set(
  "if then else elif fi case esac for while until do done in function select time coproc declare typeset local readonly export unset".split(
    " ",
  ),
);

export function bashFunctionName(toolName: string): string {
  let name = toolName.replace(/[-\s.]/g, "_").replace(/[^A-Za-z0-9_]/g, "");
  if (/^\d/.test(name)) name = `_${name}`;
  return KEYWORDS.has(name) ? `${name}_tool` : name;
}

export interface NameCollision {
  readonly first: string;
  readonly second: string;
  readonly identifier: string;
}

/** Two tools that one bash function would have to stand for. */
export function findBashCollision(tools: readonly { readonly name: string }[]): NameCollision | null {
  const taken = new Map<string, string>();
  for (const { name } of tools) {
    const identifier = bashFunctionName(name);
    const first = taken.get(identifier);
    if (first !== undefined) return { first, second: name, identifier };
    taken.set(identifier, name);
  }
  return null;
}
