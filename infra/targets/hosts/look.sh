#!/bin/sh
# Says, each in a line: the machine's CPU; whether those of CERTIFICATES (files) that are there hold for thirty days more; the engine's
# runtimes as JSON, or nothing when the engine does not answer the user who asks. Then the text of PROFILE, when it is there.
set -u
uname -m
said=holds
for certificate in $CERTIFICATES; do
  [ -r "$certificate" ] || continue
  openssl x509 -in "$certificate" -noout -checkend 2592000 >/dev/null 2>&1 || said=ends
done
echo "$said"
runtimes=$(docker info --format '{{json .Runtimes}}' 2>/dev/null) || runtimes=
printf '%s\n' "$runtimes"
cat "${PROFILE:?}" 2>/dev/null || true
