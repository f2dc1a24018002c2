#!/usr/bin/env bash
# Build it, start it (or replace what runs), try it, and return.
#   ./rebuildandrun.sh [port] [--local | --docker] [--force]        default: PORT; else the port where it runs, or 8080
# With a container engine it builds the image and runs it as a container that has the folder's name, in a clone of
# labwaiter waiter (NAME=… names it otherwise); one with running jobs is only replaced with --force. Without one, or with
# --local, it runs on this machine itself; there a second call replaces the web side, and running jobs go on.
set -euo pipefail
root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
script=$root/app/labwaiter/shipped/scripts/rebuildandrun.sh # in a clone of labwaiter; else that of the one that is installed
[[ ! -f $script ]] || exec bash "$script" "$root" "$root/.venv/bin/python" "$@"
if ! labwaiter=$(PATH=$root/.venv/bin:$PATH command -v labwaiter); then
    [[ ! -L $root/.venv ]] || unlink='rm .venv && ' # a link that leads to no labwaiter is in the way of an environment
    echo "labwaiter is neither in $root/.venv nor on the PATH: there," \
        "${unlink:-}python3 -m venv .venv && .venv/bin/pip install --find-links wheels labwaiter installs it." >&2
    exit 1
fi
exec "$labwaiter" script rebuildandrun "$root" "$@"
