#!/bin/bash
# Makes this instance a Kernelyard host, and says so to the auto scaling group once code has run in a sandbox.
# Every step may run again: after a reboot all of them do.
# shellcheck source=common.sh source-path=SCRIPTDIR
. /usr/local/lib/kernelyard/common.sh

step() { echo "kernelyard: $*"; }

# The group takes this instance away, and its journal with it: the last lines go where they stay.
report() {
  local stream events
  stream=bootstrap/$(imds instance-id)
  events=/run/kernelyard-bootstrap-events.json
  journalctl -u kernelyard-bootstrap -n 200 -o cat --no-pager | python3 -c '
import json, sys, time
text = sys.stdin.buffer.read().decode("utf-8", "replace")[-100000:]
print(json.dumps([{"timestamp": int(time.time() * 1000), "message": text or "no output"}]))' > "$events"
  aws logs create-log-stream --log-group-name "$LOG_GROUP" --log-stream-name "$stream" || true
  aws logs put-log-events --log-group-name "$LOG_GROUP" --log-stream-name "$stream" --log-events "file://$events"
}

give_up() {
  trap - ERR
  step "failed at: $doing; the group replaces this instance"
  report || step "its last lines could not be sent to $LOG_GROUP"
  finish_hook launch ABANDON || true
  exit 1
}
trap give_up ERR
begin() { doing=$1; step "$doing"; }

# A network that comes up late, a service that hiccups: not worth an instance.
again() {
  local pause
  for pause in 5 15 0; do
    if "$@"; then return 0; fi
    [ "$pause" = 0 ] || sleep "$pause"
  done
  return 1
}

begin "engine"
command -v dockerd >/dev/null || again dnf -q -y install docker
systemctl start docker

begin "gateway image and host files"
login() { aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY"; }
install -d -m 0700 "$DOCKER_CONFIG"
again login
again docker pull -q "$GATEWAY_IMAGE"
bundle=$(docker create "$GATEWAY_IMAGE")
mkdir -p /usr/local/share/kernelyard
rm -rf /usr/local/share/kernelyard/host
docker cp "$bundle:/opt/kernelyard/host-bundle" /usr/local/share/kernelyard/host
docker rm "$bundle" >/dev/null

begin "isolation"
bash /usr/local/share/kernelyard/host/from-bundle.sh

begin "sandbox image"
again docker pull -q "$SANDBOX_IMAGE"
rm -rf "$DOCKER_CONFIG"

begin "verification of the sandbox image"
/usr/local/lib/kernelyard/verify.sh

begin "secrets"
fetch() {
  (umask 077; aws secretsmanager get-secret-value --secret-id "$SECRET" --version-id "$SECRET_VERSION" \
    --query SecretString --output text > "$SECRETS_FILE") || return 1
  [ -n "${FLEET_PORT-}" ] || return 0
  address=$(imds local-ipv4) && echo "KERNELYARD_FLEET_ADDRESS=$address:$FLEET_PORT" >> "$SECRETS_FILE"
}
install -d -m 0700 "$(dirname "$SECRETS_FILE")"
again fetch

begin "services"
systemctl restart kernelyard-launcher.service kernelyard-gateway.service

begin "canary"
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
