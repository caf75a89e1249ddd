/** What every service container of ours starts from; a service adds by name what it needs. */
import type * as docker from "@pulumi/docker";

export const TMPFS = { "/tmp": "size=64m,mode=1777" } as const;
/** No higher than what machines usually allow without CAP_SYS_RESOURCE. */
export const OPEN_FILES = 16384;
const LOG_OPTIONS = { "max-size": "10m", "max-file": "5" } as const;

export const LEAST_PRIVILEGE = {
  readOnly: true,
  capabilities: { drops: ["ALL"] },
  securityOpts: ["no-new-privileges:true"],
  tmpfs: TMPFS,
  ulimits: [
    { name: "core", soft: 0, hard: 0 },
    { name: "nofile", soft: OPEN_FILES, hard: OPEN_FILES },
  ],
  init: true,
  restart: "unless-stopped",
  logDriver: "json-file",
  logOpts: LOG_OPTIONS,
  mustRun: true,
} as const satisfies Partial<docker.ContainerArgs>;
