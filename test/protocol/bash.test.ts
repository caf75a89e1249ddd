/** A bash program is what it would be at a prompt: its messages and its names say nothing of where we put its text. */
import { afterAll, describe, expect, test } from "vitest";
import { Supervised } from "./supervised.ts";

describe("a bash program", () => {
  const sandbox = new Supervised();
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const bash = (code: string, options = {}) => sandbox.run(code, { language: "bash", ...options });

  test.each([
    ["a command that is not there", "true\nnonsense", "bash: line 2: nonsense: command not found\n", 127],
    ["one that cannot be run", "\n\n./nope", "bash: line 3: ./nope: No such file or directory\n", 127],
    [
      "syntax",
      "echo a\nfi",
      "bash: eval: line 2: syntax error near unexpected token `fi'\nbash: eval: line 2: `fi'\n",
      2,
    ],
    [
      "an end that is missing",
      "if true\nthen echo b",
      "bash: eval: line 3: syntax error: unexpected end of file\n",
      2,
    ],
    ["a directory", "cd /nope || exit 6", "bash: line 1: cd: /nope: No such file or directory\n", 6],
    ["arithmetic", "echo $((1/0))\nexit 4", 'bash: line 1: 1/0: division by 0 (error token is "0")\n', 4],
    ["a builtin", "exit abc", "bash: line 1: exit: abc: numeric argument required\n", 2],
  ])("names no path of ours in its errors: %s", async (_, code, stderr, exitCode) => {
    const outcome = await bash(code);
    expect(outcome.stderr).toBe(stderr);
    expect(outcome.reply.exit_code).toBe(exitCode);
  });

  test("has its arguments, its name, an empty input, and starts where its files are", async () => {
    const code = [
      'echo "$0|$1|$2|$#|$BASH_SOURCE"',
      'cd "$(dirname "$0")" && pwd -P',
      "read line; echo $?",
      "echo $LINENO",
    ].join("\n");
    const { stdout } = await bash(code, { args: ["a b", "$x"] });
    const [names, directory, ...rest] = stdout.trimEnd().split("\n");
    expect(names).toBe("bash|a b|$x|2|");
    expect(directory).toBe((await bash("pwd -P")).stdout.trimEnd());
    expect(rest).toEqual(["1", "4"]);
  });

  test("means what a script means: quoting, here-documents, aliases, options, traps, exit codes", async () => {
    const code = [
      "cat <<'EOF'",
      "  $HOME \\n 'x'",
      "EOF",
      "shopt -s expand_aliases extglob; alias hi='echo alias'",
      "hi there",
      "case ab in @(ab|c)) echo matched;; esac",
      "f() { return 3; }; f; echo $?",
      "trap 'echo bye' EXIT",
      "set -eu -o pipefail",
      "false | true",
      "echo not reached",
    ].join("\n");
    const outcome = await bash(code);
    expect(outcome.stdout).toBe("  $HOME \\n 'x'\nalias there\nmatched\n3\nbye\n");
    expect(outcome.stderr).toBe("");
    expect(outcome.reply.exit_code).toBe(1);
  });

  test("is not found by its own text among the processes", async () => {
    const { stdout } = await bash("pgrep -f 'words that this program alone has'; echo $?");
    expect(stdout).toBe("1\n");
  });

  test("may be long, and hold bytes that are no text", async () => {
    const long = `: '${"x".repeat(3_000_000)}'\necho end $LINENO`;
    expect((await bash(long)).stdout).toBe("end 2\n");
    expect((await bash("echo a\0b\necho c")).stdout).toBe("ab\nc\n");
    expect((await bash("")).reply.exit_code).toBe(0);
  });
});
