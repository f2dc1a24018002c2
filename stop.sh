#!/usr/bin/env bash
# End the deployment of this folder, in its container or on this machine, and settle every job.
#   ./stop.sh [--wait SECONDS]
set -euo pipefail
root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$root/deploy/engine.sh"

engine=$(engine)
if [[ -n $engine ]] && is_running "$engine" && is_ours "$engine"; then
    "$engine" stop "$name" >/dev/null # within the time that it was given as it was started
    echo "The container $name has stopped; every job is settled. Its volumes keep them."
    "$engine" logs --tail 100 "$name" 2>&1 | grep -E '^[^ ]+ (is unsafe|was not read back safe): ' | sort -u >&2 || true
    [[ -x $root/.venv/bin/labwaiter ]] || exit 0
    labwaiter stop "$@" >/dev/null
    exit
fi
if [[ ! -x $root/.venv/bin/labwaiter ]]; then
    mute=$(mute_engine)
    if [[ -n $mute ]]; then
        echo "Nothing was started here without a container, and $mute, which is installed, does not answer: whether it runs a container of this folder can't be seen. Start $mute, then call this again." >&2
        exit 1
    fi
    echo "Nothing was ever started here: ./rebuildandrun.sh does that."
    exit 0
fi
labwaiter stop "$@"
