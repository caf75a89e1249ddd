/** User data: writes files, enables units, does nothing else. At most 16 KB, never a secret. Pure. */
import { assignments, type Environment } from "../../services/environment.ts";
import { enabledUnits, HOST_ENVIRONMENT, type HostFile, hostPlaces } from "./host-files.ts";

export const METRIC_NAMESPACE = "Kernelyard";
/** The service's limit, before base64. */
export const USER_DATA_LIMIT = 16_384;

export interface HostValues {
  readonly region: string;
  readonly registry: string;
  readonly gatewayImage: string;
  readonly sandboxImage: string;
  readonly secretArn: string;
  readonly secretVersion: string;
  readonly groupName: string;
  readonly logGroup: string;
  readonly port: number;
  readonly launcherSocket: string;
  /** Names of the sandbox image's libraries, which a host proves before it serves. */
  readonly libraries: readonly string[];
  /** Role that may use the bucket of files; null: files are on the host. */
  readonly filesRole: string | null;
  /** By which other hosts reach this one, and where its gateway says how it is (0: nowhere); null: it is alone. */
  readonly fleet: { readonly port: number; readonly metricsPort: number } | null;
}

export function hostEnvironment(values: HostValues): Environment {
  return {
    AWS_DEFAULT_REGION: values.region,
    IMDS: "http://169.254.169.254",
    REGISTRY: values.registry,
    GATEWAY_IMAGE: values.gatewayImage,
    SANDBOX_IMAGE: values.sandboxImage,
    SECRET: values.secretArn,
    SECRET_VERSION: values.secretVersion,
    GROUP: values.groupName,
    PORT: String(values.port),
    LAUNCHER_SOCKET: values.launcherSocket,
    LIBRARIES: values.libraries.join(" "),
    LOG_GROUP: values.logGroup,
    // Seconds between two signs of life of a host that drains.
    HEARTBEAT: "60",
    NAMESPACE: METRIC_NAMESPACE,
    ...hostPlaces(values.filesRole !== null),
    ...(values.filesRole === null ? {} : { FILES_ROLE: values.filesRole }),
    ...fleetPlaces(values.fleet),
    // One word list for systemd: the engine itself writes to CloudWatch, and never makes a container wait for it.
    LOG_FLAGS: `--log-driver=awslogs --log-opt=awslogs-region=${values.region} --log-opt=awslogs-group=${values.logGroup} --log-opt=mode=non-blocking`,
  };
}

const fleetPlaces = (fleet: HostValues["fleet"]): Environment =>
  fleet === null
    ? {}
    : {
        FLEET_PORT: String(fleet.port),
        ...(fleet.metricsPort === 0 ? {} : { METRICS_PORT: String(fleet.metricsPort) }),
      };

/** For files that a shell sources and systemd reads: both understand double quotes. */
const quotedAssignments = (environment: Environment) =>
  assignments(environment)
    .map((line) => line.replace(/^([^=]+)=(.*)$/s, (_, name: string, value: string) => `${name}="${value}"`))
    .join("\n");

export interface UserDataInput {
  readonly host: Environment;
  readonly launcher: Environment;
  /** Without keys: those come from the secret. */
  readonly gateway: Environment;
  readonly files: readonly HostFile[];
  readonly fileBucket: boolean;
}

export function userData(input: UserDataInput): string {
  for (const [name, value] of Object.entries({ ...input.host, ...input.launcher, ...input.gateway })) {
    if (/["\\$`\n]/.test(value))
      throw new Error(`${name} holds a character that no host file can carry: ${value}`);
  }
  const environments: HostFile[] = [
    { path: HOST_ENVIRONMENT, mode: "0644", content: `${quotedAssignments(input.host)}\n` },
    // Docker's own format: no quotes.
    {
      path: "/etc/kernelyard/launcher.env",
      mode: "0644",
      content: `${assignments(input.launcher).join("\n")}\n`,
    },
    {
      path: "/etc/kernelyard/gateway.env",
      mode: "0644",
      content: `${assignments(input.gateway).join("\n")}\n`,
    },
  ];
  const files = [...environments, ...input.files];
  const folders = [...new Set(files.map((file) => file.path.replace(/\/[^/]+$/, "")))].sort();
  const text = `#!/bin/bash
set -eu
umask 022
mkdir -p ${folders.join(" ")}
w() { cat > "$2"; chmod "$1" "$2"; }
${files.map((file) => `w ${file.mode} ${file.path} <<'END-OF-FILE'\n${file.content}END-OF-FILE\n`).join("")}systemctl daemon-reload
systemctl enable --now --no-block ${enabledUnits(input.fileBucket).join(" ")}
`;
  const bytes = Buffer.byteLength(text);
  if (bytes > USER_DATA_LIMIT) {
    throw new Error(
      `The hosts' user data has ${bytes} bytes, ${USER_DATA_LIMIT} are allowed: shorten kernelyard:settings`,
    );
  }
  return text;
}
