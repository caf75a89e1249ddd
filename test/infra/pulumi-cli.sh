#!/usr/bin/env bash
# Prints the directory of a `pulumi` command that the tests can use.
#
# A `pulumi` on PATH of at least version 3.259 is taken as it is. Elsewhere the command is built once from the Go module
# proxy and kept outside the checkout, keyed by version: about five minutes on two cores the first time.
set -euo pipefail

readonly VERSION=v3.259.0
readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/kernelyard/pulumi-$VERSION"

say() { printf 'pulumi-cli: %s\n' "$*" >&2; }

suitable() {
  local found
  found=$("$1" version 2>/dev/null) || return 1
  [ "$(printf '%s\n%s\n' "$VERSION" "$found" | sort -V | head -n 1)" = "$VERSION" ]
}

if command -v pulumi >/dev/null && suitable pulumi; then
  dirname "$(command -v pulumi)"
  exit 0
fi
if [ -x "$CACHE/bin/pulumi" ] && suitable "$CACHE/bin/pulumi"; then
  echo "$CACHE/bin"
  exit 0
fi
if ! command -v go >/dev/null; then
  say "no pulumi on PATH and no Go to build one: install the Pulumi CLI (https://www.pulumi.com/docs/install/) or Go 1.25 or newer"
  exit 1
fi

mkdir -p "$CACHE"
# Two test runs at once: the second waits and finds the first one's work.
exec 9>"$CACHE/lock"
flock 9
if [ -x "$CACHE/bin/pulumi" ] && suitable "$CACHE/bin/pulumi"; then
  echo "$CACHE/bin"
  exit 0
fi

say "building $VERSION from the Go module proxy (once)"
source_directory=$(mktemp -d)
trap 'rm -rf "$source_directory"' EXIT
cd "$source_directory"
# A module of our own around the command: `go install` refuses modules with replace directives.
go mod init kernelyard.invalid/pulumi-cli >&2
go get -tool "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi@$VERSION" >&2
# Without the version stamp the Automation API refuses the command.
CGO_ENABLED=0 nice go build -tags osusergo,grpcnotrace \
  -ldflags "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=$VERSION" \
  -o "$CACHE/pulumi.new" github.com/pulumi/pulumi/pkg/v3/cmd/pulumi
mkdir -p "$CACHE/bin"
mv "$CACHE/pulumi.new" "$CACHE/bin/pulumi"
echo "$CACHE/bin"
