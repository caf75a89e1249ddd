#!/usr/bin/env bash
# Prints a command that runs `redis-server`. The one on PATH is taken as it is; elsewhere Debian's packages are downloaded once, unpacked
# outside the checkout, and neither installed nor started.
set -euo pipefail

readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/kernelyard/redis"
# The server is in redis-tools; the others are what it is linked with, of this architecture.
readonly PACKAGES=(redis-server redis-tools liblua5.1-0 lua-cjson lua-bitop libjemalloc2 liblzf1 libatomic1)

if command -v redis-server >/dev/null; then
  command -v redis-server
  exit 0
fi
mkdir -p "$CACHE"
# Two test runs at once: the second waits and finds the first one's work.
exec 9>"$CACHE/lock"
flock 9
if [ ! -x "$CACHE/redis-server" ]; then
  if ! command -v apt-get >/dev/null; then
    echo "redis-server: not on PATH, and no apt-get to get it with: install Redis 7.0 or Valkey" >&2
    exit 1
  fi
  echo "redis-server: downloading Debian's packages (once)" >&2
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  # Where the lists are missing or old.
  (cd "$folder" && { apt-get download -q "${PACKAGES[@]}" || { apt-get update -q && apt-get download -q "${PACKAGES[@]}"; }; }) >&2
  for package in "$folder"/*.deb; do dpkg-deb -x "$package" "$CACHE/root"; done
  libraries=$(dirname "$(find "$CACHE/root" -name 'liblzf.so.1')")
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$CACHE/root/usr/bin/redis-server" >"$folder/redis-server"
  chmod 755 "$folder/redis-server"
  "$folder/redis-server" --version >&2
  # Last, and whole: what is there works.
  mv "$folder/redis-server" "$CACHE/redis-server"
fi
echo "$CACHE/redis-server"
