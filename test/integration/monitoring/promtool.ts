/** Prometheus' own programs, as the set-up made them ready. */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";

/** The folder of `prometheus` and `promtool`. */
export function prometheusPrograms(): string {
  return execFileSync("bash", [join(import.meta.dirname, "prometheus.sh")], { encoding: "utf8" }).trim();
}

export function promtool(...args: readonly string[]): { readonly ok: boolean; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(join(prometheusPrograms(), "promtool"), args, {
    encoding: "utf8",
  });
  return { ok: status === 0, said: stdout + stderr };
}
