# shellcheck shell=bash
# Sourced by what gets a program for the tests from Debian's packages, downloaded once and unpacked outside the checkout: `CACHE` is where.

# Two test runs at once: the second waits and finds the first one's work. Held until the script ends.
lock_cache() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/lock"
  flock 9
}

# A folder for the download, gone with the script. NAME, WHAT is got, REMEDY where there is no Debian.
begin_download() {
  if ! command -v apt-get >/dev/null; then
    echo "$1: not on PATH, and no apt-get to get it with: install $3" >&2
    exit 1
  fi
  echo "$1: downloading $2" >&2
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
}

# Where apt's lists are missing or old, they are read again.
with_lists() {
  { "$@" || { apt-get update -q && "$@"; }; } >&2
}

download_packages() {
  (cd "$folder" && with_lists apt-get download -q "$@")
}
