/** What every service container of ours starts from; a service adds by name what it needs. */
import type * as docker from "@pulumi/docker";
import { LOG_OPTIONS, OPEN_FILES, TMPFS } from "../services/description.ts";

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
