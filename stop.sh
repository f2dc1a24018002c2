#!/usr/bin/env bash
# End the deployment of this folder, in its container or on this machine, and settle every job.
#   ./stop.sh [--wait SECONDS]
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$root/deploy/engine.sh"

engine=$(engine)
if [[ -n $engine ]] && is_running "$engine" && is_ours "$engine"; then
    "$engine" stop -t "$(setting STOP_SECONDS 10)" "$name" >/dev/null
    echo "The container $name has stopped; every job is settled. Its volumes keep them."
    [[ -x $root/.venv/bin/labwaiter ]] || exit 0
    "$root/.venv/bin/labwaiter" stop "$@" >/dev/null
    exit
fi
if [[ ! -x $root/.venv/bin/labwaiter ]]; then
    echo "Nothing was ever started here: ./rebuildandrun.sh does that."
    exit 0
fi
exec "$root/.venv/bin/labwaiter" stop "$@"
