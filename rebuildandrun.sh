#!/usr/bin/env bash
# Make .venv here, start the deployment (or replace its web side; running jobs go on), try it, and return.
#   ./rebuildandrun.sh [port]        default: PORT in the file env, else 8080
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

case ${1:-} in
--docker | --podman)
    echo "Containers come with the next release; without $1 this runs on the machine itself." >&2
    exit 2
    ;;
-*)
    echo "usage: ./rebuildandrun.sh [port]" >&2
    exit 2
    ;;
esac
if (($# > 1)) || [[ ! ${1:-8080} =~ ^[0-9]+$ ]]; then
    echo "usage: ./rebuildandrun.sh [port]" >&2
    exit 2
fi
"$root/build.sh"
"$root/.venv/bin/labwaiter" start --try ${1:+--port "$1"}
cat <<END
Next: ./run.sh ${1:+$1 }start, ./run.sh ${1:+$1 }status; ./stop.sh ends it.
END
