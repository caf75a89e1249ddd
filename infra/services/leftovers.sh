#!/bin/sh
# What a deployment leaves on a machine beside Pulumi's own resources. FOLDER is the data directory; the launcher keeps
# the id that its labels carry in the file `instance` there. WHAT is `running`: sandboxes, and images called PREFIX/…, at
# whatever address the registry was; or `data`: sandboxes, session volumes and the data directory.
set -eu
: "${WHAT:?}" "${FOLDER:?}"

instance=$(cat "$FOLDER/instance" 2>/dev/null) || instance=
if [ -n "$instance" ]; then
  docker ps -aq --filter "label=kernelyard.instance=$instance" | xargs -r docker rm -f -v >/dev/null
fi

if [ "$WHAT" = data ]; then
  if [ -n "$instance" ]; then
    docker volume ls -q --filter "label=kernelyard.instance=$instance" | xargs -r docker volume rm >/dev/null
  fi
  rm -rf "$FOLDER" 2>/dev/null || sudo -n rm -rf "$FOLDER" || {
    echo "$FOLDER could not be removed: remove it as root, then run pulumi destroy again" >&2
    exit 1
  }
  exit 0
fi

: "${PREFIX:?}"
references() {
  docker image ls --digests --format '{{.Repository}} {{.Tag}} {{.Digest}}' | while read -r name tag digest; do
    case $name in */"$PREFIX"/*) ;; *) continue ;; esac
    if [ "$tag" != '<none>' ]; then echo "$name:$tag"; fi
    if [ "$digest" != '<none>' ]; then echo "$name@$digest"; fi
  done | sort -u
}
# By name: an image that somebody else has named as well stays theirs. With its tag a digest may go.
references | while read -r reference; do docker image rm -f "$reference" >/dev/null 2>&1 || true; done
left=$(references)
if [ -n "$left" ]; then
  echo "these images could not be removed: $left" >&2
  exit 1
fi
