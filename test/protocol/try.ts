/**
 * `npm run supervisor -- CODE [LANGUAGE]`: the real supervisor as a plain process in a directory of its own; shows the code's
 * output as it comes, what the call came to, and what the supervisor said. For looking, and for a debugger.
 */
import { Supervised } from "./supervised.ts";

const [code, language = "py"] = process.argv.slice(2);
if (code === undefined) {
  process.stderr.write(
    "Usage: npm run supervisor -- CODE [LANGUAGE], for example 'print(6 * 7)' or 'ls' bash\n",
  );
  process.exit(2);
}
await using supervised = new Supervised({ preload: ["numpy", "pandas"] });
const { languages } = await supervised.hello();
process.stdout.write(
  `supervisor ${supervised.process.pid}, data in ${supervised.data}, languages ${languages.map(({ id }) => id).join(" ")}\n`,
);
const { reply, stdout, stderr, files } = await supervised.run(code, { language });
const changed = [...files].map(([path, { change, bytes }]) => `${path} (${change}, ${bytes.length} bytes)`);
process.stdout.write(
  `── stdout\n${stdout}\n── stderr\n${stderr}\n── reply\n${JSON.stringify(reply, null, 2)}\n`,
);
process.stdout.write(
  `── files\n${changed.join("\n")}\n── the supervisor's own words\n${supervised.diagnostics}\n`,
);
