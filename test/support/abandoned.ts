/** What a run that was killed left on the engine: its names would meet those of the next run. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type Docker from "dockerode";

const PREFIX = "ky-stack-";

/** Says whose a stack's directory is: a run that does not live needs none. */
export const stackPrefix = () => join(tmpdir(), `${PREFIX}${process.pid}-`);

function abandoned(directory: string): boolean {
  const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(directory)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

/** Removes containers, volumes and directories of stacks whose run has ended without stopping them. */
export async function removeAbandoned(docker: Docker): Promise<void> {
  const directories = readdirSync(tmpdir()).filter(abandoned);
  for (const directory of directories) {
    const instance = join(tmpdir(), directory, "instance");
    if (!existsSync(instance)) continue;
    await removeInstance(docker, readFileSync(instance, "utf8").trim());
  }
  const { Volumes } = await docker.listVolumes({ filters: { label: ["kernelyard.kind=session-volume"] } });
  for (const { Name, Options } of Volumes) {
    const device = Options?.device ?? "";
    if (!device.startsWith(`${tmpdir()}/`)) continue;
    if (abandoned(device.slice(tmpdir().length + 1))) await docker.getVolume(Name).remove().catch(unlessGone);
  }
  for (const directory of directories) {
    rmSync(join(tmpdir(), directory), { recursive: true, force: true });
  }
}

/** Removes containers and volumes of one instance. Somebody else may be removing the same. */
export async function removeInstance(docker: Docker, instance: string): Promise<void> {
  const filters = { label: [`kernelyard.instance=${instance}`] };
  for (const { Id } of await docker.listContainers({ all: true, filters })) {
    await docker.getContainer(Id).remove({ force: true }).catch(unlessGone);
  }
  const { Volumes } = await docker.listVolumes({ filters });
  for (const { Name } of Volumes) await docker.getVolume(Name).remove().catch(unlessGone);
}

/** For a removal's `catch`: that somebody else removes the same is no failure. */
export function unlessGone(error: unknown): void {
  const gone = new Set([404, 409]);
  if (!(error instanceof Error && "statusCode" in error && gone.has(Number(error.statusCode)))) throw error;
}
