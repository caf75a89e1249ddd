#!/bin/bash
# Once a minute: does the canary pass, how many sandboxes fit, how full is the disk.
# shellcheck source=common.sh source-path=SCRIPTDIR
. /usr/local/lib/kernelyard/common.sh
failed=0
curl -fsS -m 10 "http://127.0.0.1:$PORT/health" >/dev/null 2>&1 || failed=1
health=$(curl -fsS -m 10 --unix-socket "$LAUNCHER_SOCKET" http://launcher/health || true)
number() { printf '%s' "$health" | sed -n "s/.*\"$1\":\([0-9][0-9]*\).*/\1/p"; }
put() {
  aws cloudwatch put-metric-data --namespace "$NAMESPACE" --dimensions "Group=$GROUP" \
    --metric-name "$1" --value "$2" --unit "$3"
}
put CanaryFailed "$failed" Count
if [ -n "$(number capacity)" ]; then put SlotsFree "$(($(number capacity) - $(number sandboxes)))" Count; fi
put DiskUsed "$(df --output=pcent /var/lib | tail -n 1 | tr -dc 0-9)" Percent
