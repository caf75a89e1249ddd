#!/usr/bin/env bash
# Prints a command that runs a headless Chromium. One on PATH is taken as it is; elsewhere Debian's packages are downloaded once, with the
# libraries and fonts that this machine lacks, unpacked outside the checkout, and neither installed nor started.
set -euo pipefail
# shellcheck source=../debian-packages.sh source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../debian-packages.sh"

readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/kernelyard/chromium"
# Fonts: Latin, and Japanese for the console's second language.
readonly PACKAGES=(chromium-headless-shell fonts-dejavu-core fonts-ipafont-gothic)

for name in chromium-headless-shell chromium google-chrome-stable; do
  if command -v "$name" >/dev/null; then
    command -v "$name"
    exit 0
  fi
done
lock_cache
if [ ! -x "$CACHE/chromium" ]; then
  begin_download chromium "Debian's packages (once, 100 MB)" "Chromium"
  mkdir "$folder/partial"
  # Finds what is missing here and installs none of it.
  download() {
    apt-get install -q -y --no-install-recommends --download-only -o "Dir::Cache::archives=$folder" -o Debug::NoLocking=1 "${PACKAGES[@]}"
  }
  with_lists download
  rm -rf "$CACHE/root"
  for package in "$folder"/*.deb; do dpkg-deb -x "$package" "$CACHE/root"; done
  root="$CACHE/root"
  libraries=$(find "$root" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -s -d :)
  cat >"$folder/fonts.conf" <<FONTS
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>$root/usr/share/fonts</dir>
  <cachedir>$CACHE/fonts</cachedir>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>system-ui</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <!-- Of a page's \`system-ui\` nothing is asked here: without a family the Japanese font would do for Latin, too. -->
  <match target="pattern"><edit name="family" mode="append" binding="strong"><string>DejaVu Sans</string></edit></match>
</fontconfig>
FONTS
  mv "$folder/fonts.conf" "$CACHE/fonts.conf"
  program=$(find "$root/usr/lib" "$root/usr/bin" \( -name headless_shell -o -name chromium-headless-shell \) -type f | head -n 1)
  printf '#!/bin/sh\nFONTCONFIG_FILE=%s LD_LIBRARY_PATH=%s exec %s "$@"\n' "$CACHE/fonts.conf" "$libraries" "$program" >"$folder/chromium"
  chmod 755 "$folder/chromium"
  "$folder/chromium" --version >&2
  # Last, and whole: what is there works.
  mv "$folder/chromium" "$CACHE/chromium"
fi
echo "$CACHE/chromium"
