#!/usr/bin/env bash
# Prints the path of `versitygw`, a real S3 server over a directory, for the tests. Built once from the Go module proxy
# (about a minute on two cores) and kept outside the checkout, keyed by version.
set -euo pipefail

readonly VERSION=v1.8.0
readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/kernelyard/versitygw-$VERSION"

if [ ! -x "$CACHE/versitygw" ]; then
  if ! command -v go >/dev/null; then
    echo "versitygw: no Go to build it: install Go 1.25 or newer" >&2
    exit 1
  fi
  mkdir -p "$CACHE"
  # Two test runs at once: the second waits and finds the first one's work.
  exec 9>"$CACHE/lock"
  flock 9
  if [ ! -x "$CACHE/versitygw" ]; then
    echo "versitygw: building $VERSION from the Go module proxy (once)" >&2
    mkdir -p "$CACHE/new"
    CGO_ENABLED=0 GOBIN="$CACHE/new" nice go install -ldflags "-s -w" "github.com/versity/versitygw/cmd/versitygw@$VERSION" >&2
    mv "$CACHE/new/versitygw" "$CACHE/versitygw"
  fi
fi
echo "$CACHE/versitygw"
