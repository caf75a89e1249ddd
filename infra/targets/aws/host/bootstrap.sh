#!/bin/bash
# Makes this instance a Kernelyard host, and says so to the auto scaling group once code has run in a sandbox.
# Every step may run again: after a reboot all of them do.
# shellcheck source=common.sh source-path=SCRIPTDIR
. /usr/local/lib/kernelyard/common.sh

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
docker cp "$bundle:/opt/kernelyard/host-bundle" /usr/local/share/kernelyard/host
docker rm "$bundle" >/dev/null

step "isolation"
bash /usr/local/share/kernelyard/host/from-bundle.sh

step "sandbox image"
docker pull -q "$SANDBOX_IMAGE"

step "secrets"
install -d -m 0700 "$(dirname "$SECRETS_FILE")"
(umask 077; aws secretsmanager get-secret-value --secret-id "$SECRET" --version-id "$SECRET_VERSION" \
  --query SecretString --output text > "$SECRETS_FILE")

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
