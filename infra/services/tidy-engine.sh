#!/bin/sh
# Removes the images of earlier updates from a machine's engine: those called PREFIX/…, at whatever address the registry was
# (it moves with the first machine), and those of packages, called one of PACKAGES, but for what KEEP names (references by
# digest, image ids). One that a kernel still runs on goes next time. CACHE is `ours` where nobody else builds: then its old
# layers go too.
set -eu
: "${PREFIX:?}" "${PACKAGES:?}" "${KEEP:?}" "${CACHE:?}"

kept() { case " $KEEP " in *" $1 "*) return 0 ;; *) return 1 ;; esac }
ours() {
  case $1 in */"$PREFIX"/*) return 0 ;; esac
  case " $PACKAGES " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

list() { docker image ls --digests --no-trunc --format '{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}'; }
# An image is kept by any of its names, and by a container: the engine itself keeps the last name only. Containers may end
# meanwhile.
stays=$(docker ps -aq --no-trunc | xargs -r docker inspect --format '{{.Image}}' 2>/dev/null) || true
stays="$stays $(list | while read -r name _ digest id; do
  if kept "$name@$digest" || kept "$id"; then echo "$id"; fi
done)"
list | while read -r name tag digest id; do
  ours "$name" || continue
  case $stays in *"$id"*) continue ;; esac
  if [ "$tag" != '<none>' ]; then docker image rm "$name:$tag" >/dev/null 2>&1 || true; fi
  if [ "$digest" != '<none>' ]; then docker image rm "$name@$digest" >/dev/null 2>&1 || true; fi
done
if [ "$CACHE" = ours ]; then docker builder prune --force --filter until=168h >/dev/null 2>&1 || true; fi
