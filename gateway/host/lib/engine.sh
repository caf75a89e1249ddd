# The Docker engine: installed, started, and given the runtime and its settings; put back when it refuses them. Read in by
# install.sh.

# What was in CONFIG before this run, when there was anything.
BACKUP=""

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

engine_get() { curl -fsS --max-time 10 --unix-socket "$SOCKET" "http://engine$1" 2>/dev/null; }
engine_answers() { [[ -S $SOCKET ]] && engine_get /_ping >/dev/null; }
engine_loaded() { engine_get /info | daemon_config --loaded; }
engine_info() { engine_get /info | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin).get(sys.argv[1]))' "$1"; }

engine_pid() {
  local pid
  pid=$(cat "$PIDFILE" 2>/dev/null || true)
  if [[ $pid =~ ^[0-9]+$ && $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]]; then printf '%s' "$pid"; fi
}

# The words that the daemon runs with; of one that does not run, those that its unit would give it.
engine_command() {
  local pid file
  pid=$(engine_pid)
  if [[ -n $pid ]]; then
    tr '\0' ' ' <"/proc/$pid/cmdline"
  elif [[ -z $ENGINE_DIR ]] && has_systemd; then
    systemctl show --property=ExecStart --value docker.service 2>/dev/null || true
    # Each line: FILE (ignore_errors=yes).
    systemctl show --property=EnvironmentFiles --value docker.service 2>/dev/null | while read -r file _; do
      [[ ! -r $file ]] || sed "/^[[:space:]]*[#;]/d; s/[=\"']/ /g" "$file"
    done
  fi | tr '\n' ' '
}

# Keys that the daemon is given on its command line must not be in the file as well: it would not start again.
keys_to_leave() {
  local key keys="" command
  # The second engine has no firewall rules of its own, which icc needs.
  [[ -z $ENGINE_DIR ]] || keys="icc,"
  command=$(engine_command)
  for key in live-restore icc userland-proxy no-new-privileges log-driver; do
    [[ $command == *" --$key"* ]] && keys+="$key,"
  done
  [[ $command == *" --log-opt"* ]] && keys+="log-opts,"
  [[ $command == *" --default-ulimit"* ]] && keys+="default-ulimits,"
  # The engine refuses live-restore in a swarm.
  [[ -z $(engine_pid) ]] || ! engine_get /info | grep -q '"LocalNodeState":"active"' || keys+="live-restore,"
  printf '%s' "$keys"
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
  setsid "${ENGINE_PREFIX[@]}" dockerd "${ENGINE_ARGUMENTS[@]}" >>"$LOG" 2>&1 </dev/null 9>&- &
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

# Distributions give their engine options on its command line (Amazon Linux: --default-ulimit), which can be read while it
# runs: one that has never run would be given the same in its configuration, and refuse to start.
start_before_planning() {
  [[ $START -eq 1 && -z $ENGINE_DIR ]] || return 0
  if engine_answers || [[ -n $(engine_pid) ]]; then return 0; fi
  engine_start || say "engine: it does not start with its present configuration"
}

configure_engine() {
  local plan changed=0
  start_before_planning
  plan=$(daemon_config --path "$RUNSC" --checkpoint-path "$CHECKPOINT_RUNTIME" --untouched "$(keys_to_leave)" "${DEDICATED[@]}" "${ADOPT[@]}" --dry-run) || exit $?
  if [[ ${plan%%$'\n'*} != none ]]; then
    say "engine: $CONFIG gets $(tail -n +2 <<<"$plan" | paste -sd' ')"
    changed=1
    if [[ -f $CONFIG ]]; then
      BACKUP="$CONFIG.before-kernelyard-$(date -u +%Y%m%dT%H%M%SZ)"
      cp -p "$CONFIG" "$BACKUP"
      say "engine: what was there is kept in $BACKUP"
    fi
    [[ ${plan%%$'\n'*} != restart ]] || touch "$RESTART_MARK"
    daemon_config --path "$RUNSC" --checkpoint-path "$CHECKPOINT_RUNTIME" --untouched "$(keys_to_leave)" "${DEDICATED[@]}" "${ADOPT[@]}" >/dev/null
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
  local wanted="$STATE/runtime-entry.wanted.json"
  daemon_config --path "$RUNSC" --print-entry >"$wanted"
  if ! engine_get /info | daemon_config --loaded --entry "$wanted"; then
    daemon_config --path "$RUNSC" --checkpoint-path "$CHECKPOINT_RUNTIME" --print-entry >"$wanted"
    printf '%s\n' "The engine at $SOCKET lacks the gVisor runtime. Add this to its daemon.json under \"runtimes\" and reload it:" >&2
    cat "$wanted" >&2
    exit 3
  fi
  # It serves without: sandboxes start the slow way then.
  daemon_config --path "$RUNSC" --checkpoint-path "$CHECKPOINT_RUNTIME" --print-entry >"$wanted"
  engine_get /info | daemon_config --loaded --entry "$wanted" ||
    say "engine: it has no checkpoint runtime, so sessions will not sleep; $wanted says what its daemon.json lacks"
}
