#!/bin/bash
# Waits until the group wants this instance gone; then calls finish, and it may go.
# shellcheck source=common.sh source-path=SCRIPTDIR
. /usr/local/lib/kernelyard/common.sh
until [ "$(imds autoscaling/target-lifecycle-state || true)" = Terminated ]; do sleep 5; done
echo "kernelyard: draining"
systemctl stop kernelyard-gateway.service
systemctl stop kernelyard-launcher.service
finish_hook terminate CONTINUE
