#!/usr/bin/env bash
# Prints the directory of `prometheus` and `promtool`. Those on PATH are taken as they are; elsewhere Debian's package is
# downloaded once, unpacked outside the checkout, and neither installed nor started.
set -euo pipefail

readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/kernelyard/prometheus"

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
  dirname "$(command -v promtool)"
  exit 0
fi
mkdir -p "$CACHE"
# Two test runs at once: the second waits and finds the first one's work.
exec 9>"$CACHE/lock"
flock 9
if [ ! -x "$CACHE/usr/bin/promtool" ]; then
  if ! command -v apt-get >/dev/null; then
    echo "prometheus: not on PATH, and no apt-get to get it with: install Prometheus 2.42 or newer" >&2
    exit 1
  fi
  echo "prometheus: downloading Debian's package (once)" >&2
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  # Where the lists are missing or old.
  (cd "$folder" && { apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; }) >&2
  dpkg-deb -x "$folder"/prometheus_*.deb "$CACHE"
fi
echo "$CACHE/usr/bin"
