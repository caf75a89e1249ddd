#!/usr/bin/env bash
# Prints a command that runs `redis-server`. The one on PATH is taken as it is; elsewhere Debian's packages are downloaded once, unpacked
# outside the checkout, and neither installed nor started.
set -euo pipefail
# shellcheck source=../debian-packages.sh source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../debian-packages.sh"

readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/kernelyard/redis"
# The server is in redis-tools; the others are what it is linked with, of this architecture.
readonly PACKAGES=(redis-server redis-tools liblua5.1-0 lua-cjson lua-bitop libjemalloc2 liblzf1 libatomic1)

if command -v redis-server >/dev/null; then
  command -v redis-server
  exit 0
fi
lock_cache
if [ ! -x "$CACHE/redis-server" ]; then
  begin_download redis-server "Debian's packages (once)" "Redis 7.0 or Valkey"
  download_packages "${PACKAGES[@]}"
  for package in "$folder"/*.deb; do dpkg-deb -x "$package" "$CACHE/root"; done
  libraries=$(dirname "$(find "$CACHE/root" -name 'liblzf.so.1')")
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$CACHE/root/usr/bin/redis-server" >"$folder/redis-server"
  chmod 755 "$folder/redis-server"
  "$folder/redis-server" --version >&2
  # Last, and whole: what is there works.
  mv "$folder/redis-server" "$CACHE/redis-server"
fi
echo "$CACHE/redis-server"
