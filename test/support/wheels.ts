/** Small wheels, as a build backend makes them. */
import { execFileSync } from "node:child_process";

export interface Wheel {
  readonly name: string;
  readonly version: string;
  /** Text of its only module, which has its name. */
  readonly module: string;
  readonly requires?: readonly string[];
  /** Entry points for the command line: `NAME = MODULE:FUNCTION`. */
  readonly scripts?: readonly string[];
}

const MAKE = `
import base64, hashlib, json, sys, zipfile
folder, wheels = sys.argv[1], json.loads(sys.argv[2])
for wheel in wheels:
    name, version = wheel["name"], wheel["version"]
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {one}\\n" for one in wheel.get("requires", []))
    files = {
        f"{name}.py": wheel["module"],
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    if wheel.get("scripts"):
        files[f"{info}/entry_points.txt"] = "[console_scripts]\\n" + "\\n".join(wheel["scripts"]) + "\\n"
    record = ""
    with zipfile.ZipFile(f"{folder}/{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text.encode())}\\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\\n")
`;

/** `NAME-VERSION-py3-none-any.whl` for each. */
export function writeWheels(folder: string, wheels: readonly Wheel[]): void {
  execFileSync("python3", ["-I", "-c", MAKE, folder, JSON.stringify(wheels)]);
}
