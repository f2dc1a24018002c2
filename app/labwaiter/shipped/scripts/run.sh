#!/usr/bin/env bash
# run.sh of a lab's folder: the test client. FOLDER PYTHON [port] start|status|abort|notify|watch|wsdl …
set -euo pipefail
root=$1 python=$2
shift 2
scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$scripts/engine.sh"

engine=$(engine)
if [[ -n $engine ]] && is_running "$engine" && is_ours "$engine"; then
    call_client "$engine" "$(called_at "$engine")" "$@"
    exit
fi
if ! is_installed && [[ -n $engine ]] && "$engine" image inspect "$image" >/dev/null 2>&1; then
    settings=$(settings "$engine")
    export TEST_CLIENT_DEPLOYMENT= # its container does not run
    call_client "$engine" "$(setting AT <<<"$settings")" "$@"
    exit
fi
if ! is_installed; then
    bash "$scripts/build.sh" "$root" "$python" --local >&2
fi
settings=$(labwaiter settings)
TEST_CLIENT_DEPLOYMENT=$(setting DEPLOYMENT <<<"$settings")
export TEST_CLIENT_DEPLOYMENT
call_client none "$(setting AT <<<"$settings")" "$@"
