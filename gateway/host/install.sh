#!/usr/bin/env bash
# Makes this machine an isolated Docker host: Docker engine, gVisor (runsc) as a runtime with the seccomp profile in
# effect inside, the user of the services, and tools for session volumes of fixed size. Debian, Ubuntu, Amazon Linux;
# with systemd or without an init system. Needs only the files of this folder. Run it again at any time: it changes
# what is not as it should be, and nothing else.
set -euo pipefail
umask 022

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
DEFAULT_SOCKET=/var/run/docker.sock
ETC=/etc/kernelyard
LIB=/usr/local/lib/kernelyard
SERVICE_USER=kernelyard
GVISOR_MODULE=gvisor.dev/gvisor/runsc@v0.0.0-20260905035102-160fafc42237

usage() {
  cat <<'TEXT'
Usage: install.sh [options]

  --dedicated             This machine serves Kernelyard alone: harden the engine for every container on it
                          (no traffic between containers, no new privileges, bounded logs, no core files).
  --adopt-runsc           Add missing arguments to a runtime "runsc" that somebody else configured.
  --docker-socket PATH    The engine's socket. Another one than /var/run/docker.sock is an engine of your own: it is
                          checked, not changed.
  --engine-dir DIR        A second engine with everything it has in DIR (config, data, socket); for tests.
  --gvisor-url URL        Folder of gvisor.tar.bz2 and gvisor.tar.bz2.sha512: a mirror, or a fixed release.
  --gvisor-sha512 HEX     The only accepted hash of gvisor.tar.bz2.
  --no-start              Install and configure, but neither start nor reload the engine.
  --help                  This text.

Exit codes: 0 ready, 1 failed (the last lines say why and what to do), 2 wrong use,
            3 the engine's configuration conflicts with what is needed, 4 the engine must be restarted by you.
TEXT
}

DEDICATED=()
ADOPT=()
SOCKET="${KERNELYARD_DOCKER_SOCKET:-$DEFAULT_SOCKET}"
ENGINE_DIR=""
GVISOR_URL="https://storage.googleapis.com/gvisor/releases/release/latest/$(uname -m)"
GVISOR_SHA512=""
START=1
ARGUMENTS=("$@")

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

value_of() {
  [[ $# -ge 2 && -n $2 ]] || { printf '%s needs a value.\n' "$1" >&2; exit 2; }
  printf '%s' "$2"
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --dedicated) DEDICATED=(--dedicated) ;;
    --adopt-runsc) ADOPT=(--adopt-runsc) ;;
    --docker-socket) SOCKET=$(value_of "$@"); shift ;;
    --engine-dir) ENGINE_DIR=$(value_of "$@"); shift ;;
    --gvisor-url) GVISOR_URL=$(value_of "$@"); shift ;;
    --gvisor-sha512) GVISOR_SHA512=$(value_of "$@"); shift ;;
    --no-start) START=0 ;;
    --help | -h) usage; exit 0 ;;
    *) printf 'Unknown option: %s\n\n' "$1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || fail "This installs system software: run it as root (there is no sudo here)."
  exec sudo --preserve-env=PATH,KERNELYARD_DOCKER_SOCKET bash "${BASH_SOURCE[0]}" "${ARGUMENTS[@]}"
fi
[[ $(uname -s) == Linux ]] || fail "An isolated Docker host needs Linux; this is $(uname -s)."
# Under sudo or cron the system's own programs may be missing on PATH.
PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

case $SOCKET in
  "$DEFAULT_SOCKET" | /run/docker.sock) OWN_ENGINE=1 ;;
  *) OWN_ENGINE=0 ;;
esac
if [[ -n $ENGINE_DIR ]]; then
  mkdir -p "$ENGINE_DIR"
  ENGINE_DIR="$(cd "$ENGINE_DIR" && pwd)"
  OWN_ENGINE=1
  SOCKET="$ENGINE_DIR/docker.sock"
  CONFIG="$ENGINE_DIR/daemon.json"
  STATE="$ENGINE_DIR"
  PIDFILE="$ENGINE_DIR/docker.pid"
  LOG="$ENGINE_DIR/dockerd.log"
  ENGINE_ARGUMENTS=(
    --config-file "$CONFIG" --host "unix://$SOCKET" --data-root "$ENGINE_DIR/data" --exec-root "$ENGINE_DIR/exec"
    --pidfile "$PIDFILE" --bridge none --iptables=false --ip6tables=false
  )
else
  CONFIG=/etc/docker/daemon.json
  STATE="$ETC"
  PIDFILE=/var/run/docker.pid
  LOG=/var/log/dockerd.log
  ENGINE_ARGUMENTS=()
fi
# What Kernelyard wrote as the runtime entry, and a mark that the engine has not seen all of its configuration yet.
STAMP="$STATE/runtime-entry.json"
RESTART_MARK="$STATE/engine-restart-needed"

BACKUP=""
SAID=0
say() {
  SAID=1
  printf '  %s\n' "$*"
}

mkdir -p "$ETC" /run/lock
exec 9>/run/lock/kernelyard-host.lock
if ! flock --nonblock 9; then
  say "another run of this script is at work; waiting for it"
  flock --timeout 900 9 || fail "Another run of install.sh has held /run/lock/kernelyard-host.lock for 15 minutes."
fi
# A lock that a daemon inherits would never be released.
unlocked() { "$@" 9>&-; }

has_systemd() { [[ -d /run/systemd/system ]]; }

# ── packages ──────────────────────────────────────────────────────────────────────────────────────────────────────────
APT_FRESH=0
install_packages() {
  say "installing packages: $*"
  local log
  log=$(mktemp)
  if command -v apt-get >/dev/null; then
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2)
    if [[ $APT_FRESH -eq 0 ]] && ! apt_knows "$@"; then
      unlocked "${apt[@]}" update >"$log" 2>&1 || true
      APT_FRESH=1
    fi
    if ! unlocked "${apt[@]}" install --no-install-recommends "$@" >>"$log" 2>&1; then
      # The package lists may be older than the archive.
      unlocked "${apt[@]}" update >>"$log" 2>&1 || true
      if ! unlocked "${apt[@]}" install --no-install-recommends "$@" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "apt-get could not install: $*. Its last lines are above."
      fi
    fi
  elif command -v dnf >/dev/null; then
    if ! unlocked dnf install -y "$@" >"$log" 2>&1; then
      tail -n 15 "$log" >&2
      fail "dnf could not install: $*. Its last lines are above."
    fi
  else
    fail "There is neither apt-get nor dnf here: install these yourself, then run this again: $*"
  fi
  rm -f "$log"
}

apt_knows() {
  local package
  for package in "$@"; do
    [[ -n $(apt-cache --quiet=1 madison "$package" 2>/dev/null) ]] || return 1
  done
}

tools() {
  local missing=() pair
  # program:package
  for pair in python3:python3 curl:curl mkfs.ext4:e2fsprogs losetup:mount setpriv:util-linux useradd:passwd; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  if command -v dnf >/dev/null && ! command -v apt-get >/dev/null; then
    missing=("${missing[@]/#mount/util-linux}")
    missing=("${missing[@]/#passwd/shadow-utils}")
  fi
  [[ ${#missing[@]} -eq 0 ]] || install_packages "${missing[@]}" ca-certificates
  # The system's own Python, not one that a version manager puts before it: faster, and there for root.
  PYTHON=/usr/bin/python3
  [[ -x $PYTHON ]] || PYTHON=$(command -v python3)
}

daemon_config() {
  "$PYTHON" "$HERE/daemon_config.py" --config "$CONFIG" --runtime "$HERE/runtime.json" --stamp "$STAMP" "$@"
}

engine_program() {
  [[ $OWN_ENGINE -eq 1 ]] || return 0
  if ! command -v dockerd >/dev/null && ! engine_answers; then
    if command -v apt-get >/dev/null; then
      install_packages docker.io iptables
    else
      install_packages docker iptables
    fi
    command -v dockerd >/dev/null || fail "The package was installed, but there is no dockerd on PATH."
  fi
  # Newer Debian has the client in a package of its own; deployments reach the engine with it.
  if ! command -v docker >/dev/null && command -v apt-get >/dev/null; then install_packages docker-cli; fi
}

# ── gVisor ────────────────────────────────────────────────────────────────────────────────────────────────────────────
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

RUNSC=""
find_runsc() {
  local configured candidate
  configured=$(daemon_config --show-path) || exit 3
  if [[ -n $configured && $configured != */* ]]; then configured=$(command -v "$configured" || true); fi
  # Already in use as the runtime: no need to start a sandbox to know that it can.
  if runsc_has_flags "$configured"; then
    RUNSC=$configured
    return
  fi
  for candidate in "$LIB"/gvisor/*/runsc $(type -aP runsc || true); do
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
  local from=$1 id=$2 to="$LIB/gvisor/$2"
  chmod -R a+rX "$from"
  chmod a+rx "$from/runsc"
  runsc_suitable "$from/runsc" || return 1
  rm -rf "$to"
  mkdir -p "$LIB/gvisor"
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
  if [[ -z $found ]] || ! place_runsc "$(dirname "$found")" "release-${actual:0:12}"; then
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
  [[ -z $GVISOR_SHA512 ]] || { say "gVisor: --gvisor-sha512 is given, so it is not built from source"; return 1; }
  say "gVisor: building it from its Go module (about a minute)"
  work=$(mktemp -d)
  chmod 0755 "$work"
  mkdir "$work/built"
  # With cgo it would build and then not start.
  if ! unlocked env CGO_ENABLED=0 GOFLAGS= GOBIN="$work/built" HOME="${HOME:-/root}" timeout 1200 \
    "$go" install "$GVISOR_MODULE" >"$work/log" 2>&1; then
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
  [[ -z $GVISOR_SHA512 ]] || return 1
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

# ── files and users ───────────────────────────────────────────────────────────────────────────────────────────────────
service_user() {
  getent group "$SERVICE_USER" >/dev/null || { say "group $SERVICE_USER"; groupadd --system "$SERVICE_USER"; }
  if ! getent passwd "$SERVICE_USER" >/dev/null; then
    say "user $SERVICE_USER (the gateway; no login, no access to the engine)"
    useradd --system --gid "$SERVICE_USER" --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin "$SERVICE_USER"
  fi
}

seccomp_profile() {
  if ! cmp -s "$HERE/seccomp/profile.json" "$ETC/seccomp.json"; then
    say "seccomp profile: $ETC/seccomp.json"
    install -m 0644 "$HERE/seccomp/profile.json" "$ETC/seccomp.json.new"
    mv "$ETC/seccomp.json.new" "$ETC/seccomp.json"
  fi
}

loop_devices() {
  [[ -e /dev/loop-control ]] || unlocked modprobe loop 2>/dev/null || true
  [[ -e /dev/loop-control ]] ||
    say "no loop devices here: session volumes will have no hard size (npm run doctor shows it)"
}

# ── engine ────────────────────────────────────────────────────────────────────────────────────────────────────────────
engine_get() { curl -fsS --max-time 10 --unix-socket "$SOCKET" "http://engine$1" 2>/dev/null; }
engine_answers() { [[ -S $SOCKET ]] && engine_get /_ping >/dev/null; }
engine_loaded() { engine_get /info | daemon_config --loaded; }
engine_info() { engine_get /info | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin).get(sys.argv[1]))' "$1"; }

engine_pid() {
  local pid
  pid=$(cat "$PIDFILE" 2>/dev/null || true)
  if [[ $pid =~ ^[0-9]+$ && $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]]; then printf '%s' "$pid"; fi
}

# Keys that the daemon was given on its command line must not be in the file as well: it would not start again.
keys_to_leave() {
  local pid key keys="" command
  # The second engine has no firewall rules of its own, which icc needs.
  [[ -z $ENGINE_DIR ]] || keys="icc,"
  pid=$(engine_pid)
  if [[ -n $pid ]]; then
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    for key in live-restore icc userland-proxy no-new-privileges log-driver; do
      [[ $command == *" --$key"* ]] && keys+="$key,"
    done
    [[ $command == *" --log-opt"* ]] && keys+="log-opts,"
    [[ $command == *" --default-ulimit"* ]] && keys+="default-ulimits,"
    # The engine refuses live-restore in a swarm.
    engine_get /info | grep -q '"LocalNodeState":"active"' && keys+="live-restore,"
  fi
  printf '%s' "$keys"
}

wait_until() {
  local seconds=$1 deadline
  shift
  deadline=$((SECONDS + seconds))
  until "$@"; do
    [[ $SECONDS -lt $deadline ]] || return 1
    sleep 0.2
  done
}

# Starts the engine; on failure says why and returns 1.
engine_start() {
  local pid
  if [[ -z $ENGINE_DIR ]] && has_systemd && systemctl cat docker.service >/dev/null 2>&1; then
    say "engine: starting it (systemctl enable --now docker)"
    if unlocked systemctl enable --now docker >/dev/null 2>&1 && wait_until 60 engine_answers; then return 0; fi
    printf '%s\n' "The engine does not start: see journalctl --unit docker --lines 50" >&2
    return 1
  fi
  # A number that is left from before a crash may belong to another process now.
  [[ -n $(engine_pid) ]] || rm -f "$PIDFILE"
  if ! grep -q ' cgroup2\? ' /proc/mounts; then
    say "cgroups: mounting them at /sys/fs/cgroup"
    mount -t cgroup2 cgroup2 /sys/fs/cgroup || fail "Control groups are not mounted and cannot be: the engine needs them."
  fi
  say "engine: starting it without an init system (log: $LOG)"
  local from=0
  [[ ! -f $LOG ]] || from=$(stat -c %s "$LOG")
  setsid dockerd "${ENGINE_ARGUMENTS[@]}" >>"$LOG" 2>&1 </dev/null 9>&- &
  pid=$!
  disown "$pid"
  ready_or_dead() { engine_answers || ! kill -0 "$pid" 2>/dev/null; }
  wait_until 60 ready_or_dead || true
  if ! engine_answers; then
    tail -c "+$((from + 1))" "$LOG" | tail -n 8 | sed 's/^/      /' >&2
    printf '%s\n' "The engine does not start; its last lines are above, all of them in $LOG." >&2
    return 1
  fi
}

engine_reload() {
  if [[ -z $ENGINE_DIR ]] && has_systemd && systemctl is-active --quiet docker; then
    systemctl reload docker
  else
    kill -HUP "$(engine_pid)"
  fi
}

engine_restart() {
  local pid
  if [[ $(engine_info ContainersRunning) != 0 && $(engine_info LiveRestoreEnabled) != True ]]; then
    printf '%s\n' "The engine's new settings need a restart, which would end the containers that run." \
      "When that suits you, restart it (systemctl restart docker) and run this again." >&2
    exit 4
  fi
  say "engine: restarting it (containers keep running)"
  if [[ -z $ENGINE_DIR ]] && has_systemd && systemctl is-active --quiet docker; then
    unlocked systemctl restart docker && wait_until 60 engine_answers
  else
    pid=$(engine_pid)
    kill -TERM "$pid"
    gone() { [[ ! -e /proc/$pid ]]; }
    wait_until 60 gone || fail "The engine (process $pid) did not end within a minute of SIGTERM."
    engine_start
  fi
}

# Nobody's engine stays down because of settings of ours.
put_configuration_back() {
  if [[ -n $BACKUP ]]; then
    cp -p "$BACKUP" "$CONFIG"
    printf '%s\n' "$CONFIG was put back as it was." >&2
  else
    mv "$CONFIG" "$CONFIG.refused"
    printf '%s\n' "$CONFIG was moved to $CONFIG.refused." >&2
  fi
  rm -f "$RESTART_MARK"
}

configure_engine() {
  local plan changed=0
  plan=$(daemon_config --path "$RUNSC" --untouched "$(keys_to_leave)" "${DEDICATED[@]}" "${ADOPT[@]}" --dry-run) || exit $?
  if [[ ${plan%%$'\n'*} != none ]]; then
    say "engine: $CONFIG gets $(tail -n +2 <<<"$plan" | paste -sd' ')"
    changed=1
    if [[ -f $CONFIG ]]; then
      BACKUP="$CONFIG.before-kernelyard-$(date -u +%Y%m%dT%H%M%SZ)"
      cp -p "$CONFIG" "$BACKUP"
      say "engine: what was there is kept in $BACKUP"
    fi
    [[ ${plan%%$'\n'*} != restart ]] || touch "$RESTART_MARK"
    daemon_config --path "$RUNSC" --untouched "$(keys_to_leave)" "${DEDICATED[@]}" "${ADOPT[@]}" >/dev/null
  fi
  [[ $START -eq 1 ]] || return 0

  if ! engine_answers; then
    answers_or_gone() { engine_answers || [[ -z $(engine_pid) ]]; }
    if ! wait_until 2 answers_or_gone; then
      say "engine: waiting for process $(engine_pid) to answer"
      wait_until 60 answers_or_gone || fail "The engine runs (process $(engine_pid)) but $SOCKET does not answer."
    fi
    if ! engine_answers; then
      if ! engine_start; then
        [[ $changed -eq 0 ]] || put_configuration_back
        exit 1
      fi
      rm -f "$RESTART_MARK"
    fi
  fi
  if ! engine_loaded; then
    [[ -n $(engine_pid) ]] ||
      fail "The engine at $SOCKET is not a process that this script can configure (Docker Desktop, rootless, snap?)." \
        "Kernelyard needs an engine of the system: the package docker.io, or docker-ce."
    say "engine: reloading its configuration (SIGHUP; running containers are not touched)"
    engine_reload
    if ! wait_until 15 engine_loaded; then
      if [[ $changed -eq 1 ]]; then
        put_configuration_back
        engine_reload || true
      fi
      fail "The engine does not take the runtime over on reload." \
        "Its log says why ($LOG, or journalctl --unit docker)."
    fi
  fi
  if [[ -e $RESTART_MARK ]]; then
    if ! engine_restart; then
      [[ $changed -eq 0 ]] || put_configuration_back
      engine_start || true
      exit 1
    fi
    rm -f "$RESTART_MARK"
  fi
}

# An engine that the operator names is the operator's: say what is missing, change nothing.
check_foreign_engine() {
  engine_answers || fail "The engine at $SOCKET does not answer. Start it, or unset KERNELYARD_DOCKER_SOCKET."
  daemon_config --path "$RUNSC" --print-entry >"$STATE/runtime-entry.wanted.json"
  if ! engine_get /info | daemon_config --loaded --entry "$STATE/runtime-entry.wanted.json"; then
    printf '%s\n' "The engine at $SOCKET lacks the gVisor runtime. Add this to its daemon.json under \"runtimes\" and reload it:" >&2
    cat "$STATE/runtime-entry.wanted.json" >&2
    exit 3
  fi
}

tools
engine_program
find_runsc
service_user
seccomp_profile
loop_devices
if [[ $OWN_ENGINE -eq 1 ]]; then
  configure_engine
elif [[ $START -eq 1 ]]; then
  check_foreign_engine
fi

if [[ $START -eq 1 ]]; then
  printf 'Host ready%s: Docker %s, gVisor %s, seccomp %s.\n' "$([[ $SAID -eq 1 ]] || echo ", nothing to do")" \
    "$(engine_info ServerVersion)" "$RUNSC" "$(sha256sum "$ETC/seccomp.json" | cut -c1-12)"
else
  printf 'Host installed (engine not started): gVisor %s.\n' "$RUNSC"
fi
