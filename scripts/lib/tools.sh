# Sourced by the scripts beside it: where things are cached, which versions, and how to say what is missing.
# Everything fetched or built for tests lives outside the tree, so a clean tree stays clean.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/tidegate/target}
mkdir -p "$CACHE"
# shellcheck source=../../conformance/versions.env
. "$ROOT/conformance/versions.env"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# need TOOL HINT: stops with the way out when a tool is missing.
need() { has "$1" || die "\`$1\` is missing: $2"; }

# installed TOOL PACKAGE WHY: a tool of a Debian package, installed where that is allowed; else says what is missing.
installed() {
    local tool=$1 package=$2 why=$3
    has "$tool" && return
    [ "$(id -u)" = 0 ] && has apt-get || die "\`$tool\` is missing: $why (Debian: apt-get install $package)"
    say "installing $package"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package"; } >&2 \
        || die "apt-get could not install the package $package"
}

# venv NAME REQUIREMENT...: makes (once) a virtual environment of exactly these packages; prints its python.
venv() {
    local name=$1 dir stamp
    shift
    need python3 "install Python 3.10 or newer (Debian: apt-get install python3-venv)"
    dir=$CACHE/venv/$name
    stamp=$(printf '%s\n' "$@")
    if [ ! -f "$dir/.stamp" ] || [ "$(cat "$dir/.stamp")" != "$stamp" ]; then
        say "preparing the Python environment $name"
        rm -rf "$dir"
        python3 -m venv "$dir" >&2 || die "python3 -m venv failed (Debian: apt-get install python3-venv)"
        "$dir/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 \
            || die "pip could not install: $*"
        printf '%s' "$stamp" >"$dir/.stamp"
    fi
    printf '%s\n' "$dir/bin/python"
}

# node_modules NAME PACKAGE@VERSION...: installs (once) these npm packages; prints the folder that holds node_modules.
node_modules() {
    local name=$1 dir stamp
    shift
    need npm "install Node 20 or newer"
    dir=$CACHE/node/$name
    stamp=$(printf '%s\n' "$@")
    if [ ! -f "$dir/.stamp" ] || [ "$(cat "$dir/.stamp")" != "$stamp" ]; then
        say "preparing the Node packages $name"
        rm -rf "$dir"
        mkdir -p "$dir"
        printf '{"private":true,"type":"module"}\n' >"$dir/package.json"
        (cd "$dir" && npm install --silent --no-audit --no-fund "$@" >&2) || die "npm could not install: $*"
        printf '%s' "$stamp" >"$dir/.stamp"
    fi
    printf '%s\n' "$dir"
}

# await SECONDS WHAT COMMAND...: polls until the command succeeds; a bounded wait that names what it waited for.
await() {
    local seconds=$1 what=$2 deadline
    shift 2
    deadline=$(($(date +%s) + seconds))
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# end PID: asks a process to stop, then insists after ten seconds. Only ever called with ids we started.
end() {
    local pid=$1 i
    kill -TERM "$pid" 2>/dev/null || return 0
    for i in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}
