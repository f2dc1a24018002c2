#!/usr/bin/env bash
# The test client: it knows the service by its WSDL alone. From .venv; in its container where there is none, or where
# the service runs in one.
#   ./run.sh [port] start|status|abort|notify|watch|wsdl …        ./run.sh --help tells more
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$root/deploy/engine.sh"

engine=$(engine)
here() { # whether the service was made to run on this machine itself
    [[ -x $root/.venv/bin/labwaiter ]] && ! { is_running "$engine" && is_ours "$engine"; }
}
if [[ -n $engine ]] && ! here && "$engine" image inspect "$client" >/dev/null 2>&1; then
    call_client "$engine" "$@"
    exit
fi
if [[ ! -x $root/.venv/bin/labwaiter ]]; then
    "$root/build.sh" --local >&2
fi
exec "$root/.venv/bin/python" "$root/test_client/client.py" "$@"
