/** Which gVisor a host gets: `gvisor.json`, the one place that names a release. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";

const Gvisor = z.strictObject({ releases: z.url(), version: z.string() });

/** As gVisor's releases are called. */
export type GvisorArchitecture = "x86_64" | "aarch64";

/** Folder of `gvisor.tar.bz2` and its checksum. */
export function gvisorUrl(architecture: GvisorArchitecture): string {
  const text = readFileSync(join(import.meta.dirname, "gvisor.json"), "utf8");
  const { releases, version } = Gvisor.parse(JSON.parse(text));
  return `${releases}/${version}/${architecture}`;
}
