#!/bin/bash
# Waits until the group wants this instance gone; lets running calls end, and says meanwhile that it still does, however long
# the longest call may be; then calls finish, and it may go.
# shellcheck source=common.sh source-path=SCRIPTDIR
. /usr/local/lib/kernelyard/common.sh
until [ "$(imds autoscaling/target-lifecycle-state || true)" = Terminated ]; do sleep 5; done
echo "kernelyard: draining"
while sleep "$HEARTBEAT"; do
  aws autoscaling record-lifecycle-action-heartbeat --auto-scaling-group-name "$GROUP" \
    --lifecycle-hook-name terminate --instance-id "$(imds instance-id)" || true
done &
beating=$!
trap 'kill "$beating" 2>/dev/null || true' EXIT
# Sessions go to other hosts with their files; of a host that is alone they end.
docker exec kernelyard-gateway node gateway/image/drain.ts || echo "kernelyard: sessions are left here" >&2
systemctl stop kernelyard-gateway.service
systemctl stop kernelyard-launcher.service
finish_hook terminate CONTINUE
