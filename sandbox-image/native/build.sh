#!/bin/sh
# Builds the sandbox's own programs with the C compiler (CC, default gcc).
#   build.sh OUT REAL_PYTHON PYTHON_SOCKET KERNEL_SOCKET
# OUT is for python3, kernel and run_main.so; the sockets are names among abstract ones.
set -eu
here=$(dirname "$0")
out=$1 real_python=$2 python_socket=$3 kernel_socket=$4
strict='-std=c17 -O2 -Wall -Wextra -Wpedantic -Werror'
mkdir -p "$out"
# Static: they are started for every command, and nothing has to be looked up and mapped before they run.
# shellcheck disable=SC2086
{
  ${CC:-gcc} $strict -static -s "-DREAL_PYTHON=\"$real_python\"" "-DSOCKET_NAME=\"$python_socket\"" \
    -o "$out/python3" "$here/python3.c"
  ${CC:-gcc} $strict -static -s "-DSOCKET_NAME=\"$kernel_socket\"" -o "$out/kernel" "$here/kernel.c"
  ${CC:-gcc} $strict -shared -fPIC -s -o "$out/run_main.so" "$here/run_main.c"
}
