#!/usr/bin/env bash
# Prints the directory of `prometheus` and `promtool`. Those on PATH are taken as they are; elsewhere Debian's package is
# downloaded once, unpacked outside the checkout, and neither installed nor started.
set -euo pipefail
# shellcheck source=../../support/debian-packages.sh source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../../support/debian-packages.sh"

readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/kernelyard/prometheus"

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
  dirname "$(command -v promtool)"
  exit 0
fi
lock_cache
if [ ! -x "$CACHE/usr/bin/promtool" ]; then
  begin_download prometheus "Debian's package (once)" "Prometheus 2.42 or newer"
  download_packages prometheus
  dpkg-deb -x "$folder"/prometheus_*.deb "$CACHE"
fi
echo "$CACHE/usr/bin"
