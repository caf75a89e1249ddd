/** The scripts and units of an AWS host, as text. They read /etc/kernelyard/host.env; nothing secret is in them. Pure. */

import { commandLine } from "../../parts/quote.ts";
import {
  gatewayDescription,
  launcherDescription,
  runFlags,
  type ServiceDescription,
} from "../../services/description.ts";
import type { Paths } from "../../services/environment.ts";

export interface HostFile {
  readonly path: string;
  readonly mode: "0644" | "0755" | "0600";
  readonly content: string;
}

export const HOST_ENVIRONMENT = "/etc/kernelyard/host.env";
const SECRETS = "/run/kernelyard-secrets/gateway.env";
const PROGRAMS = "/usr/local/lib/kernelyard";
/** In memory: the gateway's short-lived credentials for the bucket of files. */
export const CREDENTIALS = "/run/kernelyard-credentials";
/** Group of the gateway's user (`gateway/image/Dockerfile`). */
const GATEWAY_GROUP = 10002;

/** Sourced by every script: the instance's own data, with the session token that IMDSv2 asks for. */
const COMMON = `set -euo pipefail
set -a; . ${HOST_ENVIRONMENT}; set +a
imds() {
  local token
  token=$(curl -fsS -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$IMDS/latest/api/token")
  curl -fsS -m 5 -H "X-aws-ec2-metadata-token: $token" "$IMDS/latest/meta-data/$1"
}
finish_hook() {
  aws autoscaling complete-lifecycle-action --auto-scaling-group-name "$GROUP" --lifecycle-hook-name "$1" \\
    --instance-id "$(imds instance-id)" --lifecycle-action-result "$2"
}
`;

const BOOTSTRAP = `#!/bin/bash
# Makes this instance a Kernelyard host, and says so to the auto scaling group once code has run in a sandbox.
# Every step may run again: after a reboot all of them do.
. ${PROGRAMS}/common.sh

step() { echo "kernelyard: $*"; }

give_up() {
  step "failed; the group replaces this instance"
  finish_hook launch ABANDON || true
  exit 1
}
trap give_up ERR

step "engine"
command -v dockerd >/dev/null || dnf -q -y install docker
systemctl start docker

step "gateway image and host files"
aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY"
docker pull -q "$GATEWAY_IMAGE"
bundle=$(docker create "$GATEWAY_IMAGE")
mkdir -p /usr/local/share/kernelyard
rm -rf /usr/local/share/kernelyard/host
docker cp "$bundle:/opt/kernelyard/gateway/host" /usr/local/share/kernelyard/host
docker cp "$bundle:/opt/kernelyard/host-bundle/." /usr/local/share/kernelyard/host/
docker rm "$bundle" >/dev/null

step "isolation"
bash /usr/local/share/kernelyard/host/from-bundle.sh

step "sandbox image"
docker pull -q "$SANDBOX_IMAGE"

step "secrets"
install -d -m 0700 "$(dirname ${SECRETS})"
(umask 077; aws secretsmanager get-secret-value --secret-id "$SECRET" --version-id "$SECRET_VERSION" \\
  --query SecretString --output text > ${SECRETS})

step "services"
systemctl restart kernelyard-launcher.service kernelyard-gateway.service

step "canary"
deadline=$((SECONDS + 300))
until curl -fsS -m 5 "http://127.0.0.1:$PORT/health" >/dev/null 2>&1; do
  if [ "$SECONDS" -gt "$deadline" ]; then
    step "no sandbox has executed code within 300 s"
    give_up
  fi
  sleep 2
done

trap - ERR
step "in service"
# After a reboot there is no hook to finish.
finish_hook launch CONTINUE || step "the group waits for nothing"
`;

const DRAIN = `#!/bin/bash
# Waits until the group wants this instance gone; then calls finish, and it may go.
. ${PROGRAMS}/common.sh
until [ "$(imds autoscaling/target-lifecycle-state || true)" = Terminated ]; do sleep 5; done
echo "kernelyard: draining"
systemctl stop kernelyard-gateway.service
systemctl stop kernelyard-launcher.service
finish_hook terminate CONTINUE
`;

const METRICS = `#!/bin/bash
# Once a minute: does the canary pass, how many sandboxes fit, how full is the disk.
. ${PROGRAMS}/common.sh
failed=0
curl -fsS -m 10 "http://127.0.0.1:$PORT/health" >/dev/null 2>&1 || failed=1
health=$(curl -fsS -m 10 --unix-socket "$LAUNCHER_SOCKET" http://launcher/health || true)
number() { printf '%s' "$health" | sed -n "s/.*\\"$1\\":\\([0-9][0-9]*\\).*/\\1/p"; }
put() {
  aws cloudwatch put-metric-data --namespace "$NAMESPACE" --dimensions "Group=$GROUP" \\
    --metric-name "$1" --value "$2" --unit "$3"
}
put CanaryFailed "$failed" Count
if [ -n "$(number capacity)" ]; then put SlotsFree "$(($(number capacity) - $(number sandboxes)))" Count; fi
put DiskUsed "$(df --output=pcent /var/lib | tail -n 1 | tr -dc 0-9)" Percent
`;

const RENEW_CREDENTIALS = `#!/bin/bash
# Takes on the role that may use the bucket of files, for the gateway, whose container is one hop too far from the
# metadata service. They last an hour; a new set is there in good time.
. ${PROGRAMS}/common.sh
folder=${CREDENTIALS}
install -d -m 0750 -g ${GATEWAY_GROUP} "$folder"
[ -z "$(find "$folder/credentials.json" -mmin -20 2>/dev/null)" ] || exit 0
umask 027
printf '[default]\\ncredential_process = cat %s/credentials.json\\n' "$folder" > "$folder/config"
aws sts assume-role --role-arn "$FILES_ROLE" --role-session-name "$(imds instance-id)" --duration-seconds 3600 \\
  --query Credentials --output json | sed '1s/{/{"Version": 1,/' > "$folder/new.$$"
chgrp ${GATEWAY_GROUP} "$folder/config" "$folder/new.$$"
mv "$folder/new.$$" "$folder/credentials.json"
`;

const CREDENTIALS_UNIT = `[Unit]
Description=Kernelyard: renew the gateway's credentials for files

[Service]
Type=oneshot
ExecStart=${PROGRAMS}/credentials.sh
TimeoutStartSec=50
`;

const CREDENTIALS_TIMER = `[Unit]
Description=Kernelyard: credentials for files, looked at every minute

[Timer]
OnBootSec=2min
OnUnitActiveSec=1min

[Install]
WantedBy=timers.target
`;

function serviceUnit(
  service: ServiceDescription,
  title: string,
  more: readonly string[],
  ports: string,
  before: readonly string[] = [],
): string {
  const name = `kernelyard-${service.health}`;
  const requires = service.health === "gateway" ? "kernelyard-launcher.service" : "docker.service";
  const run = [
    "/usr/bin/docker",
    "run",
    "--rm",
    `--name=${name}`,
    ...runFlags(service),
    `--env-file=/etc/kernelyard/${service.health}.env`,
    ...more,
  ];
  return `[Unit]
Description=${title}
After=docker.service ${requires}
Wants=${requires}

[Service]
EnvironmentFile=${HOST_ENVIRONMENT}
ExecStartPre=-/usr/bin/docker rm -f ${name}
${before.map((program) => `ExecStartPre=${program}\n`).join("")}ExecStart=${commandLine(run)}${ports} $LOG_FLAGS --log-opt=tag=${service.health}/{{.ID}} \${GATEWAY_IMAGE} ${commandLine(service.command)}
ExecStop=/usr/bin/docker stop -t ${service.stopSeconds} ${name}
TimeoutStopSec=${service.stopSeconds + 15}
Restart=always
RestartSec=2
`;
}

const BOOTSTRAP_UNIT = `[Unit]
Description=Kernelyard: make this instance a host
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${PROGRAMS}/bootstrap.sh
TimeoutStartSec=1200

[Install]
WantedBy=multi-user.target
`;

const DRAIN_UNIT = `[Unit]
Description=Kernelyard: drain before the instance goes
After=network-online.target

[Service]
ExecStart=${PROGRAMS}/drain.sh
Restart=on-failure
RestartSec=10

[Install]
WantedBy=multi-user.target
`;

const METRICS_UNIT = `[Unit]
Description=Kernelyard: numbers for the alarms

[Service]
Type=oneshot
ExecStart=${PROGRAMS}/metrics.sh
TimeoutStartSec=50
`;

const METRICS_TIMER = `[Unit]
Description=Kernelyard: numbers every minute

[Timer]
OnBootSec=2min
OnUnitActiveSec=1min

[Install]
WantedBy=timers.target
`;

/** Units that user data enables. */
export const enabledUnits = (fileBucket: boolean): string[] => [
  "kernelyard-bootstrap.service",
  "kernelyard-drain.service",
  "kernelyard-metrics.timer",
  ...(fileBucket ? ["kernelyard-credentials.timer"] : []),
];

const unit = (name: string, content: string): HostFile => ({
  path: `/etc/systemd/system/${name}`,
  mode: "0644",
  content,
});
const program = (name: string, content: string): HostFile => ({
  path: `${PROGRAMS}/${name}`,
  mode: "0755",
  content,
});

export function hostFiles(
  paths: Paths,
  port: number,
  longestCallMs: number,
  fileBucket: boolean,
): HostFile[] {
  const launcher = launcherDescription(paths);
  const gateway = gatewayDescription(paths, longestCallMs);
  return [
    program("common.sh", COMMON),
    program("bootstrap.sh", BOOTSTRAP),
    program("drain.sh", DRAIN),
    program("metrics.sh", METRICS),
    unit("kernelyard-bootstrap.service", BOOTSTRAP_UNIT),
    unit("kernelyard-launcher.service", serviceUnit(launcher, "Kernelyard launcher", [], "")),
    unit(
      "kernelyard-gateway.service",
      serviceUnit(
        gateway,
        "Kernelyard gateway",
        [
          `--env-file=${SECRETS}`,
          ...(fileBucket
            ? [`--volume=${CREDENTIALS}:${CREDENTIALS}:ro`, `--env=AWS_CONFIG_FILE=${CREDENTIALS}/config`]
            : []),
        ],
        ` --publish=${port}:${port}`,
        fileBucket ? [`${PROGRAMS}/credentials.sh`] : [],
      ),
    ),
    ...(fileBucket
      ? [
          program("credentials.sh", RENEW_CREDENTIALS),
          unit("kernelyard-credentials.service", CREDENTIALS_UNIT),
          unit("kernelyard-credentials.timer", CREDENTIALS_TIMER),
        ]
      : []),
    unit("kernelyard-drain.service", DRAIN_UNIT),
    unit("kernelyard-metrics.service", METRICS_UNIT),
    unit("kernelyard-metrics.timer", METRICS_TIMER),
  ];
}
