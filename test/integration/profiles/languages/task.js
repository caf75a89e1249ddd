const fs = require("node:fs");
const args = process.argv.slice(2);
fs.writeFileSync("out.txt", `${fs.readFileSync("in.txt", "utf8").trim()} ${args[0]}\n`);
console.log("args", args.join("|"));
console.log("stdin", fs.readFileSync(0).length);
process.exitCode = 3;
