#!/usr/bin/env bash
# The test client: it knows the service by its WSDL alone. From .venv; in its container where there is none, or where
# the service runs in one.
#   ./run.sh [port] start|status|abort|notify|watch|wsdl …        ./run.sh --help tells more
set -euo pipefail
root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$root/deploy/engine.sh"

engine=$(engine)
if [[ -n $engine ]] && is_running "$engine" && is_ours "$engine"; then
    call_client "$engine" "$(called_at "$engine")" "$@"
    exit
fi
if [[ ! -x $root/.venv/bin/labwaiter ]] && [[ -n $engine ]] && "$engine" image inspect "$client" >/dev/null 2>&1; then
    settings=$(settings "$engine")
    export TEST_CLIENT_DEPLOYMENT= # its container does not run
    call_client "$engine" "$(setting AT <<<"$settings")" "$@"
    exit
fi
if [[ ! -x $root/.venv/bin/labwaiter ]]; then
    "$root/build.sh" --local >&2
fi
settings=$(labwaiter settings)
TEST_CLIENT_AT=$(setting AT <<<"$settings")
TEST_CLIENT_DEPLOYMENT=$(setting DEPLOYMENT <<<"$settings")
export TEST_CLIENT_AT TEST_CLIENT_DEPLOYMENT
exec "$root/.venv/bin/python" -E "$root/test_client/client.py" "$@"
