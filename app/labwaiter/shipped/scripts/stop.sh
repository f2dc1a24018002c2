#!/usr/bin/env bash
# stop.sh of a lab's folder: end its deployment, in its container or on this machine. FOLDER PYTHON [--wait SECONDS]
set -euo pipefail
root=$1 python=$2
shift 2
scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$scripts/engine.sh"

engine=$(engine)
if [[ -n $engine ]] && is_running "$engine" && is_ours "$engine"; then
    "$engine" stop "$name" >/dev/null # within the time that it was given as it was started
    echo "The container $name has stopped; every job is settled. Its volumes keep them."
    "$engine" logs --tail 100 "$name" 2>&1 | grep -E '^[^ ]+ (is unsafe|was not read back safe): ' | sort -u >&2 || true
    is_installed || exit 0
    labwaiter stop "$@" >/dev/null
    exit
fi
if ! is_installed; then
    mute=$(mute_engine)
    if [[ -n $mute ]]; then
        echo "Nothing was started here without a container, and $mute, which is installed, does not answer: whether it runs a container of this folder can't be seen. Start $mute, then call this again." >&2
        exit 1
    fi
    echo "Nothing was ever started here: ./rebuildandrun.sh does that."
    exit 0
fi
labwaiter stop "$@"
