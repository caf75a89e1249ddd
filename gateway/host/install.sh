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
SERVICE_USER=kernelyard

# shellcheck source=lib/say.sh
. "$HERE/lib/say.sh"
# shellcheck source=lib/packages.sh
. "$HERE/lib/packages.sh"
# shellcheck source=lib/gvisor.sh
. "$HERE/lib/gvisor.sh"
# shellcheck source=lib/engine.sh
. "$HERE/lib/engine.sh"

usage() {
  cat <<'TEXT'
Usage: install.sh [options]

  --dedicated             This machine serves Kernelyard alone: harden the engine for every container on it
                          (no traffic between containers, no new privileges, bounded logs, no core files).
  --adopt-runsc           Add missing arguments to a runtime "runsc" that somebody else configured.
  --docker-socket PATH    The engine's socket. Another one than /var/run/docker.sock is an engine of your own: it is
                          checked, not changed.
  --engine-dir DIR        A second engine with everything it has in DIR (config, data, socket), and no network; for tests.
  --gvisor-url URL        Folder of gvisor.tar.bz2 and gvisor.tar.bz2.sha512: a mirror, or a fixed release.
  --gvisor-sha512 HEX     The hash of gvisor.tar.bz2: no other gVisor is taken, whichever is here; another hash is an update.
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
  # An engine without a bridge removes the one it finds, which is the first engine's.
  ENGINE_PREFIX=(unshare --net)
else
  CONFIG=/etc/docker/daemon.json
  STATE="$ETC"
  PIDFILE=/var/run/docker.pid
  LOG=/var/log/dockerd.log
  ENGINE_ARGUMENTS=()
  ENGINE_PREFIX=()
fi
# What Kernelyard wrote as the runtime entry, and a mark that the engine has not seen all of its configuration yet.
STAMP="$STATE/runtime-entry.json"
RESTART_MARK="$STATE/engine-restart-needed"

mkdir -p "$ETC" /run/lock
exec 9>/run/lock/kernelyard-host.lock
if ! flock --nonblock 9; then
  say "another run of this script is at work; waiting for it"
  flock --timeout 900 9 || fail "Another run of install.sh has held /run/lock/kernelyard-host.lock for 15 minutes."
  # Waiting changed nothing.
  SAID=0
fi

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

tools
engine_program
find_runsc
checkpoint_runtime
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
