# Words for whoever runs the script, waiting, and what every part calls. Read in by install.sh.

# Whether anything was changed or is under way: without it the script says so in one line.
SAID=0
say() {
  SAID=1
  printf '  %s\n' "$*"
}

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# A lock that a daemon inherits would never be released.
unlocked() { "$@" 9>&-; }

has_systemd() { [[ -d /run/systemd/system ]]; }

wait_until() {
  local seconds=$1 deadline
  shift
  deadline=$((SECONDS + seconds))
  until "$@"; do
    [[ $SECONDS -lt $deadline ]] || return 1
    sleep 0.2
  done
}

daemon_config() {
  "$PYTHON" "$HERE/daemon_config.py" --config "$CONFIG" --runtime "$HERE/runtime.json" --stamp "$STAMP" "$@"
}
