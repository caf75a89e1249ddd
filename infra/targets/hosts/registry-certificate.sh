#!/bin/sh
# Makes the registry's key and certificate for HOST (SUBJECT: `IP:` or `DNS:` and the same) in FOLDER, unless a certificate
# is there that holds for another thirty days; has the engine trust it (TRUST); prints it. The key never leaves the machine.
# Both belong to OWNER, the registry's user. A registry that runs in CONTAINER is started again with a new certificate.
set -eu
umask 077
mkdir -p "${FOLDER:?}" "${TRUST:?}"
chmod 755 "$FOLDER" "$TRUST"
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
install -m 644 tls.crt "$TRUST/ca.crt"
if [ -n "$made" ] && docker container inspect "${CONTAINER:?}" >/dev/null 2>&1; then
  docker restart "$CONTAINER" >/dev/null
fi
cat tls.crt
