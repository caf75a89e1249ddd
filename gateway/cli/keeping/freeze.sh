#!/bin/sh
# freeze.sh DIRECTORY SECONDS: the file system at DIRECTORY takes no writes until standard input ends, or for so many seconds.
# Says "frozen" when that has begun. Whoever started it may be killed at any moment.
trap '' HUP INT TERM
cd "$1" || exit 1
fsfreeze --freeze . || exit 1
echo frozen
timeout "$2" cat >/dev/null
fsfreeze --unfreeze .
