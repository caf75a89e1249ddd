#!/bin/sh
# Takes the entry's configuration from standard input and leaves it in FOLDER when IMAGE's HAProxy can use it. An entry that runs in
# CONTAINER takes it while it serves: calls that it has go on.
set -eu
umask 022
mkdir -p "${FOLDER:?}"
cd "$FOLDER"
cat >haproxy.cfg.new
# By the names of no machine: they are looked for when it runs.
docker run --rm --network none --read-only --cap-drop ALL --volume "$FOLDER:/etc/entry:ro" --entrypoint haproxy "${IMAGE:?}" \
  -c -q -f /etc/entry/haproxy.cfg.new >&2
changed=
cmp -s haproxy.cfg.new haproxy.cfg || changed=yes
mv haproxy.cfg.new haproxy.cfg
if [ -n "$changed" ] && docker container inspect "${CONTAINER:?}" >/dev/null 2>&1; then
  docker kill --signal USR2 "$CONTAINER" >/dev/null
fi
