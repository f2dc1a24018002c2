#!/usr/bin/env bash
# Make ready what runs: the image where a container engine answers, else what is missing here. Quick when all is there.
#   ./build.sh [--local | --docker | --dev]        --dev: what the tests need, too
set -euo pipefail
root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
script=$root/app/labwaiter/shipped/scripts/build.sh # in a clone of labwaiter; else that of the one that is installed
[[ ! -f $script ]] || exec bash "$script" "$root" "$root/.venv/bin/python" "$@"
if ! labwaiter=$(PATH=$root/.venv/bin:$PATH command -v labwaiter); then
    [[ ! -L $root/.venv ]] || unlink='rm .venv && ' # a link that leads to no labwaiter is in the way of an environment
    echo "labwaiter is neither in $root/.venv nor on the PATH: there," \
        "${unlink:-}python3 -m venv .venv && .venv/bin/pip install --find-links wheels labwaiter installs it." >&2
    exit 1
fi
exec "$labwaiter" script build "$root" "$@"
