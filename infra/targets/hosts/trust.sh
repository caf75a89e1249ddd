#!/bin/sh
# Takes the registry's certificate from standard input; the engine trusts it for the registry whose folder FOLDER is.
set -eu
umask 022
mkdir -p "${FOLDER:?}"
cat >"$FOLDER/ca.crt"
