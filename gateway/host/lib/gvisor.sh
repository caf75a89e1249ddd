# Finds a gVisor (runsc) that is good enough, or installs one: RUNSC, and CHECKPOINT_RUNTIME beside it. Read in by install.sh.

GVISOR_FOLDER=/usr/local/lib/kernelyard/gvisor
CHECKPOINT_FOLDER=/usr/local/lib/kernelyard/checkpoint-runtime
GVISOR_MODULE=gvisor.dev/gvisor/runsc@v0.0.0-20260905035102-160fafc42237
RUNSC=""
CHECKPOINT_RUNTIME=""

# Decided by what it can do: packages from 2022 are still around, and builds from source carry no version.
runsc_has_flags() {
  local flags
  [[ -n $1 && -x $1 ]] || return 1
  flags=$(timeout 10 "$1" flags 2>&1) || return 1
  [[ $flags == *systrap* && $flags == *-oci-seccomp* && $flags == *-host-uds* && $flags == *-host-fifo* ]]
}

# gVisor runs itself as nobody; a program under /root is out of its reach.
runsc_reachable() { setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$1" 2>/dev/null; }

# A sandbox that really starts. A build with cgo passes all else and fails here.
runsc_runs() {
  local root result=0
  root=$(mktemp -d)
  unlocked timeout 60 "$1" --root="$root" --platform=systrap --network=none --ignore-cgroups "do" /bin/true \
    >"$root.log" 2>&1 || result=1
  [[ $result -eq 0 ]] || { say "$1 cannot start a sandbox here:"; tail -n 3 "$root.log" | sed 's/^/      /' >&2; }
  rm -rf "$root" "$root.log"
  return $result
}

runsc_suitable() { runsc_has_flags "$1" && runsc_reachable "$1" && runsc_runs "$1"; }

# Of a release, by the hash of its archive.
release_id() { printf 'release-%s' "${1:0:12}"; }

# Only what came out of the archive with that hash will do, whatever else is there or in use: so another hash is an update.
find_pinned_runsc() {
  local pinned
  pinned="$GVISOR_FOLDER/$(release_id "$GVISOR_SHA512")/runsc"
  if runsc_suitable "$pinned"; then
    RUNSC=$pinned
  else
    runsc_from_release ||
      fail "gVisor: the archive that --gvisor-sha512 names could not be installed from $GVISOR_URL." \
        "Give a folder that has it with --gvisor-url, then run this again."
  fi
}

find_runsc() {
  local configured candidate
  configured=$(daemon_config --show-path) || exit 3
  if [[ -n $GVISOR_SHA512 ]]; then
    find_pinned_runsc
    return
  fi
  if [[ -n $configured && $configured != */* ]]; then configured=$(command -v "$configured" || true); fi
  # Already in use as the runtime: no need to start a sandbox to know that it can.
  if runsc_has_flags "$configured"; then
    RUNSC=$configured
    return
  fi
  for candidate in "$GVISOR_FOLDER"/*/runsc $(type -aP runsc || true); do
    if [[ $candidate != "$configured" ]] && runsc_suitable "$candidate"; then
      say "gVisor: using $candidate"
      RUNSC=$candidate
      return
    fi
  done
  runsc_from_release || runsc_from_module || runsc_from_package ||
    fail "gVisor could not be installed by any of the ways above." \
      "Install a runsc of 2024 or newer as /usr/local/bin/runsc (https://gvisor.dev/docs/user_guide/install/), or give" \
      "a mirror with --gvisor-url, then run this again."
}

place_runsc() {
  local from=$1 id=$2 to="$GVISOR_FOLDER/$2"
  chmod -R a+rX "$from"
  chmod a+rx "$from/runsc"
  runsc_suitable "$from/runsc" || return 1
  rm -rf "$to"
  mkdir -p "$GVISOR_FOLDER"
  mv "$from" "$to"
  RUNSC="$to/runsc"
  say "gVisor: installed $RUNSC ($id)"
}

# gVisor's own release: a tarball of runsc and the programs that it starts from the folder gvisor-bin beside it.
runsc_from_release() {
  local expected actual work found
  say "gVisor: looking at $GVISOR_URL"
  if ! expected=$(curl -fsSL --connect-timeout 4 --max-time 15 "$GVISOR_URL/gvisor.tar.bz2.sha512" 2>/dev/null); then
    say "gVisor: the release cannot be reached from here; trying the next way"
    return 1
  fi
  expected=${expected%%[[:space:]]*}
  if [[ -n $GVISOR_SHA512 && $expected != "$GVISOR_SHA512" ]]; then
    fail "gVisor: $GVISOR_URL offers sha512 ${expected:0:16}…, but --gvisor-sha512 says ${GVISOR_SHA512:0:16}…."
  fi
  work=$(mktemp -d)
  chmod 0755 "$work"
  say "gVisor: downloading the release"
  if ! curl -fsSL --connect-timeout 4 --speed-limit 10000 --speed-time 20 --max-time 900 --max-filesize 1000000000 \
    -o "$work/gvisor.tar.bz2" "$GVISOR_URL/gvisor.tar.bz2"; then
    say "gVisor: the download broke off; trying the next way"
    rm -rf "$work"
    return 1
  fi
  actual=$(sha512sum "$work/gvisor.tar.bz2" | cut -d' ' -f1)
  if [[ $actual != "$expected" ]]; then
    rm -rf "$work"
    fail "gVisor: gvisor.tar.bz2 has sha512 ${actual:0:16}…, its checksum file says ${expected:0:16}…. Nothing was installed."
  fi
  mkdir "$work/unpacked"
  "$PYTHON" -m tarfile -e "$work/gvisor.tar.bz2" "$work/unpacked"
  found=$(find "$work/unpacked" -maxdepth 3 -type f -name runsc | head -n 1)
  if [[ -z $found ]] || ! place_runsc "$(dirname "$found")" "$(release_id "$actual")"; then
    say "gVisor: the release cannot be used here; trying the next way"
    rm -rf "$work"
    return 1
  fi
  rm -rf "$work"
}

runsc_from_module() {
  local go work
  go=$(command -v go || true)
  [[ -n $go || ! -x /usr/local/go/bin/go ]] || go=/usr/local/go/bin/go
  [[ -n $go ]] || { say "gVisor: no Go here to build it with; trying the next way"; return 1; }
  say "gVisor: building it from its Go module (about a minute)"
  work=$(mktemp -d)
  chmod 0755 "$work"
  mkdir "$work/built"
  # With cgo it would build and then not start. Without the version it would restore checkpoints of any other build.
  if ! unlocked env CGO_ENABLED=0 GOFLAGS= GOBIN="$work/built" HOME="${HOME:-/root}" timeout 1200 \
    "$go" install -ldflags "-X gvisor.dev/gvisor/runsc/version.version=${GVISOR_MODULE##*@}" \
    "$GVISOR_MODULE" >"$work/log" 2>&1; then
    tail -n 5 "$work/log" | sed 's/^/      /' >&2
    say "gVisor: the build failed; trying the next way"
    rm -rf "$work"
    return 1
  fi
  place_runsc "$work/built" "module-${GVISOR_MODULE##*-}" || { rm -rf "$work"; return 1; }
  rm -rf "$work"
}

runsc_from_package() {
  command -v apt-get >/dev/null || return 1
  # Debian 12's is from 2022 and would only be installed to be refused.
  local version
  version=$(apt-cache policy runsc 2>/dev/null | sed -n 's/^ *Candidate: //p')
  if [[ -z $version || $version == "(none)" || $version =~ ^0\.0~20(1|20|21|22|23) ]]; then
    say "gVisor: the distribution's package is missing or too old (${version:-none})"
    return 1
  fi
  install_packages runsc
  runsc_suitable /usr/bin/runsc && RUNSC=/usr/bin/runsc
}

# The same runsc behind a script that saves and restores. Its folder names what it runs: another build is another runtime.
checkpoint_runtime() {
  local text id
  text=$(sed "s|@RUNSC@|$RUNSC|" "$HERE/checkpoint-runtime.sh")
  id=$({ printf '%s' "$text"; sha256sum <"$RUNSC"; } | sha256sum | cut -c1-12)
  CHECKPOINT_RUNTIME="$CHECKPOINT_FOLDER/$id/runsc-checkpoint"
  [[ ! -x $CHECKPOINT_RUNTIME ]] || return 0
  say "gVisor: checkpoint runtime $CHECKPOINT_RUNTIME"
  install -d -m 0755 "${CHECKPOINT_RUNTIME%/*}"
  printf '%s\n' "$text" >"$CHECKPOINT_RUNTIME.new"
  chmod 0755 "$CHECKPOINT_RUNTIME.new"
  mv "$CHECKPOINT_RUNTIME.new" "$CHECKPOINT_RUNTIME"
}
