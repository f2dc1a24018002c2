#!/usr/bin/env bash
# The test client: it knows the service by its WSDL alone. In its container where one was built, else from .venv.
#   ./run.sh [port] start|status|abort|notify|watch|wsdl …        ./run.sh --help tells more
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$root/deploy/engine.sh"

engine=$(engine)
if [[ -n $engine ]] && "$engine" image inspect "$client" >/dev/null 2>&1; then
    call_client "$engine" "$@"
    exit
fi
if [[ ! -x $root/.venv/bin/labwaiter ]]; then
    "$root/build.sh" --local >&2
fi
exec "$root/.venv/bin/python" "$root/test_client/client.py" "$@"
