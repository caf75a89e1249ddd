#!/bin/bash
# Once a minute: does the canary pass, how many sandboxes fit, how much memory is given to them, how full is the disk, and is
# this host part of its fleet.
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
capacity=$(number capacity)
if [ -n "$capacity" ]; then put SlotsFree "$((capacity - $(number sandboxes)))" Count; fi
if [ "${capacity:-0}" -gt 0 ]; then put MemoryGiven "$(($(number sandboxes) * 100 / capacity))" Percent; fi
if [ -n "${METRICS_PORT-}" ]; then
  member=$(docker exec kernelyard-gateway node -e 'fetch("http://127.0.0.1:'"$METRICS_PORT"'/metrics").then((r) => r.text()).then((t) =>
    console.log(/^kernelyard_fleet_member (\d)/m.exec(t)?.[1] ?? ""))' || true)
  put FleetAway "$([ "$member" = 1 ] && echo 0 || echo 1)" Count
fi
put DiskUsed "$(df --output=pcent /var/lib | tail -n 1 | tr -dc 0-9)" Percent
