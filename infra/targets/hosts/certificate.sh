#!/bin/sh
# Makes a server's key and certificate for HOST (SUBJECT: `IP:` or `DNS:` and the same, further names after commas) in FOLDER, unless a certificate is
# there that holds for another thirty days; has the engine trust it (TRUST, when it is a registry's); prints it. The key never
# leaves the machine. Both belong to OWNER, the server's user. A server that runs in CONTAINER is started again with a new one.
set -eu
umask 077
mkdir -p "${FOLDER:?}"
chmod 755 "$FOLDER"
cd "$FOLDER"
made=
if ! openssl x509 -in tls.crt -noout -checkend 2592000 >/dev/null 2>&1 ||
  ! openssl x509 -in tls.crt -noout -ext subjectAltName | grep -qF "${HOST:?}"; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -keyout tls.key.new -out tls.crt.new -subj "/CN=$HOST" -addext "subjectAltName=${SUBJECT:?}" 2>/dev/null
  mv tls.key.new tls.key
  mv tls.crt.new tls.crt
  made=yes
fi
chown "${OWNER:?}:0" tls.key tls.crt
chmod 440 tls.key
chmod 444 tls.crt
if [ -n "$TRUST" ]; then
  mkdir -p "$TRUST"
  chmod 755 "$TRUST"
  install -m 644 tls.crt "$TRUST/ca.crt"
fi
if [ -n "$made" ] && docker container inspect "${CONTAINER:?}" >/dev/null 2>&1; then
  docker restart "$CONTAINER" >/dev/null
fi
cat tls.crt
