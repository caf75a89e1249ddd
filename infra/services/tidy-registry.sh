#!/bin/sh
# Removes from the registry in CONTAINER what no tag needs any more, and all tags but those of the images in KEEP (digests)
# and, for going back, the newest other one of each repository. Runs when an update has ended, so nobody pushes meanwhile.
set -eu
: "${CONTAINER:?}" "${KEEP:?}"

docker exec -i "$CONTAINER" sh -eu -s "$KEEP" <<'INSIDE'
keep=$1
changed=
for manifests in $(find /var/lib/registry/docker/registry/v2/repositories -type d -name _manifests 2>/dev/null); do
  spare=1
  # The newest first.
  for tag in $(ls -t "$manifests/tags" 2>/dev/null); do
    digest=$(cat "$manifests/tags/$tag/current/link")
    case " $keep " in *" $digest "*) continue ;; esac
    if [ "$spare" = 1 ]; then
      spare=0
      continue
    fi
    rm -rf "$manifests/tags/$tag" "$manifests/revisions/sha256/${digest#sha256:}"
    changed=yes
  done
done
[ -n "$changed" ] || exit 0
program=$(command -v docker-registry || command -v registry)
for config in /etc/kernelyard-registry.yml /etc/distribution/config.yml /etc/docker/registry/config.yml; do
  if [ -r "$config" ]; then
    "$program" garbage-collect "$config" >/dev/null 2>&1
    exit 0
  fi
done
echo "the registry's configuration was not found: its disk is not freed" >&2
INSIDE
