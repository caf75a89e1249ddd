#!/bin/sh
# Takes the host's files from standard input into FOLDER, where the machine's operators find them and nothing else is, and
# makes the machine an isolated Docker host. Changes only what is not as it should be. They belong to root, who runs them,
# and to nobody else, whoever they belonged to where they came from. OPERATOR, who deploys, may use the engine: with
# password-free sudo that is nothing new.
set -eu
umask 022
rm -rf "${FOLDER:?}"
mkdir -p "$FOLDER"
tar -xz --no-same-owner --no-same-permissions -C "$FOLDER"
cd "$FOLDER"
bash install.sh --dedicated >&2
if [ "${OPERATOR:?}" != root ] && ! id -nG "$OPERATOR" | tr ' ' '\n' | grep -qx docker; then
  usermod -aG docker "$OPERATOR"
fi
