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
needed=$(sed -n 's/^ *"node": ">=\([0-9.]*\)".*/\1/p' package.json)
command -v npm >/dev/null || { echo "npm is missing: install Node.js $needed or newer with npm (https://nodejs.org)." >&2; exit 1; }
# An older npm leaves out programs that the tests are made of, without a word; the services' own packages have none.
if [ "$level" = all ] && ! node -e '
  const [has, needs] = [process.versions.node, process.argv[1]].map((version) => version.split(".").map(Number));
  process.exit(has[0] > needs[0] || (has[0] === needs[0] && has[1] >= (needs[1] || 0)) ? 0 : 1);
' "$needed"; then
  echo "The Node.js on PATH is $(node --version): npm needs $needed or newer for all packages (https://nodejs.org)." >&2
  exit 1
fi

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
  {
    echo "No Node.js for this machine came with the packages: package-lock.json has one for Linux on x64 and arm64."
    echo "There, npm leaves out optional packages (npm config get omit). Elsewhere, link one of that version:"
    echo "  ln -s \"\$(command -v node)\" node_modules/.bin/node"
  } >&2
  exit 1
fi
printf '%s %s\n' "$lock" "$level" >"$stamp"
