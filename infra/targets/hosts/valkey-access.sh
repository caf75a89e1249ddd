#!/bin/sh
# Takes the users of the directory's engine (a password's hash) from standard input and leaves them in FOLDER, for OWNER alone.
# An engine that runs in CONTAINER with others is started again.
set -eu
umask 077
cd "${FOLDER:?}"
cat >users.acl.new
chown "${OWNER:?}:0" users.acl.new
chmod 440 users.acl.new
changed=
cmp -s users.acl.new users.acl || changed=yes
mv users.acl.new users.acl
if [ -n "$changed" ] && docker container inspect "${CONTAINER:?}" >/dev/null 2>&1; then
  docker restart "$CONTAINER" >/dev/null
fi
