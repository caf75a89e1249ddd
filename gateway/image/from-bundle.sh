#!/bin/bash
# Makes this machine an isolated host with the gVisor of the host bundle, so that it needs no internet for it.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PLACE=/usr/local/lib/kernelyard/gvisor/bundle
rm -rf "$PLACE"
mkdir -p "$(dirname "$PLACE")"
cp -R "$HERE/gvisor" "$PLACE"
exec bash "$HERE/install.sh" --dedicated
