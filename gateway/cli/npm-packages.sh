#!/bin/sh
# Makes node_modules complete before a command runs: `run` for the services, `all` for tests and the Pulumi program.
# Says nothing and takes a few milliseconds when there is nothing to do.
set -eu

level=${1:-}
case $level in
  run | all) ;;
  *) echo "Usage: npm-packages.sh run|all" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/../.."

stamp=node_modules/.kernelyard-packages
if command -v sha256sum >/dev/null; then lock=$(sha256sum package-lock.json); else lock=$(shasum -a 256 package-lock.json); fi
lock=${lock%% *}
if [ -r "$stamp" ] && [ -x node_modules/.bin/node ]; then
  read -r stamped_lock stamped_level <"$stamp" || true
  if [ "${stamped_lock:-}" = "$lock" ] && { [ "${stamped_level:-}" = all ] || [ "${stamped_level:-}" = "$level" ]; }; then
    exit 0
  fi
fi

# npm puts node_modules/.bin first on PATH; the Node in there is about to be replaced, so npm must not run on it.
path=
IFS=:
for entry in $PATH; do
  case $entry in */node_modules/.bin | */node-gyp-bin) ;; *) path=$path${path:+:}$entry ;; esac
done
unset IFS
PATH=$path
export PATH
command -v npm >/dev/null || { echo "npm is missing: install Node.js 18 or newer with npm (https://nodejs.org)." >&2; exit 1; }

# What the outer npm was told (npm_config_*) is about its own command, except where packages come from.
for name in $(env | sed -n 's/^\(npm_config_[A-Za-z0-9_]*\)=.*/\1/p'); do
  case $name in
    npm_config_registry | npm_config_userconfig | npm_config_cache | npm_config_cafile | npm_config_*proxy) ;;
    *) unset "$name" ;;
  esac
done

# The environment's NODE_ENV must not decide what is installed.
case $level in
  run) wanted=--omit=dev ;;
  all) wanted=--include=dev ;;
esac
echo "Installing packages (npm ci $wanted): a minute or two the first time."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! npm ci "$wanted" --no-audit --no-fund --loglevel=error >"$log" 2>&1; then
  head -n 20 "$log" >&2
  echo "The packages could not be installed; npm's words are above. Is the npm registry reachable?" >&2
  exit 1
fi
if ! node_modules/.bin/node --version >/dev/null 2>&1; then
  tail -n 20 "$log" >&2
  echo "The package \`node\` brought no Node for this machine: are install scripts switched off (npm config get ignore-scripts)?" >&2
  exit 1
fi
printf '%s %s\n' "$lock" "$level" >"$stamp"
