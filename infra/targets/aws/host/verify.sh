#!/bin/bash
# Proves the sandbox image on this host, under its gVisor and with a sandbox's limits: every library is imported, threads,
# processes and languages work. Prints a line for each check; fails when one fails.
# shellcheck source=common.sh source-path=SCRIPTDIR
. /usr/local/lib/kernelyard/common.sh
# shellcheck disable=SC2153 # From the host's environment file.
read -r -a libraries <<< "$LIBRARIES"
# shellcheck disable=SC2016 # Expanded in the sandbox.
docker @FLAGS@ "$SANDBOX_IMAGE" -c 'printf %s "$0" > /tmp/smoke.py && exec python3 /tmp/smoke.py "$@"' \
  "$(cat /usr/local/share/kernelyard/host/smoke.py)" "${libraries[@]}" 2>&1
