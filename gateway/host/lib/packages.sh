# Packages of the distribution, and the programs that the rest of the script stands on. Read in by install.sh.

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
  local pairs=(python3:python3 curl:curl mkfs.ext4:e2fsprogs losetup:mount setpriv:util-linux useradd:passwd)
  # For the deployment's registry: its certificate, and the hash of its password.
  [[ ${#DEDICATED[@]} -eq 0 ]] || pairs+=(openssl:openssl perl:perl-base)
  for pair in "${pairs[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  if command -v dnf >/dev/null && ! command -v apt-get >/dev/null; then
    missing=("${missing[@]/#mount/util-linux}")
    missing=("${missing[@]/#passwd/shadow-utils}")
    missing=("${missing[@]/#perl-base/perl-interpreter}")
  fi
  [[ ${#missing[@]} -eq 0 ]] || install_packages "${missing[@]}" ca-certificates
  # The system's own Python, not one that a version manager puts before it: faster, and there for root.
  PYTHON=/usr/bin/python3
  [[ -x $PYTHON ]] || PYTHON=$(command -v python3)
}
