#!/usr/bin/env bash
# Prints a command that runs `haproxy`. The one on PATH is taken as it is; elsewhere Debian's packages are downloaded once, unpacked
# outside the checkout, and neither installed nor started.
set -euo pipefail
# shellcheck source=../debian-packages.sh source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../debian-packages.sh"

readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/kernelyard/haproxy"
# Those behind it are what it is linked with, of this architecture.
readonly PACKAGES=(haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 libpcre2-8-0)

if command -v haproxy >/dev/null; then
  command -v haproxy
  exit 0
fi
lock_cache
if [ ! -x "$CACHE/haproxy" ]; then
  begin_download haproxy "Debian's packages (once)" "HAProxy 2.6"
  download_packages "${PACKAGES[@]}"
  for package in "$folder"/*.deb; do dpkg-deb -x "$package" "$CACHE/root"; done
  libraries=$(dirname "$(find "$CACHE/root" -name 'liblua5.3.so.0')")
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$CACHE/root/usr/sbin/haproxy" >"$folder/haproxy"
  chmod 755 "$folder/haproxy"
  "$folder/haproxy" -v >&2
  # Last, and whole: what is there works.
  mv "$folder/haproxy" "$CACHE/haproxy"
fi
echo "$CACHE/haproxy"
