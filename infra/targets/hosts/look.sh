#!/bin/sh
# Says, each in a line: the machine's CPU; whether CERTIFICATE (a file, or nothing) holds for thirty days more; the engine's
# runtimes as JSON, or nothing when the engine does not answer the user who asks. Then the text of PROFILE, when it is there.
set -u
uname -m
if [ -n "$CERTIFICATE" ] && [ -r "$CERTIFICATE" ] &&
  ! openssl x509 -in "$CERTIFICATE" -noout -checkend 2592000 >/dev/null 2>&1; then
  echo ends
else
  echo holds
fi
runtimes=$(docker info --format '{{json .Runtimes}}' 2>/dev/null) || runtimes=
printf '%s\n' "$runtimes"
cat "${PROFILE:?}" 2>/dev/null || true
