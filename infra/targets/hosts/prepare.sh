#!/bin/sh
# Takes the host's files from standard input into FOLDER, where the machine's operators find them and nothing else is, and
# makes the machine an isolated Docker host. Changes only what is not as it should be.
set -eu
umask 022
rm -rf "${FOLDER:?}"
mkdir -p "$FOLDER"
tar -xz -C "$FOLDER"
cd "$FOLDER"
exec bash install.sh --dedicated >&2
