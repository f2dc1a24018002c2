#!/usr/bin/env bash
# End the deployment of this folder and settle every job.
#   ./stop.sh [--wait SECONDS]
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

if [[ ! -x $root/.venv/bin/labwaiter ]]; then
    echo "Nothing was ever started here: ./rebuildandrun.sh does that."
    exit 0
fi
exec "$root/.venv/bin/labwaiter" stop "$@"
