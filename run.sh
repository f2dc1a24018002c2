#!/usr/bin/env bash
# The test client: it knows the service by its WSDL alone.
#   ./run.sh [port] start|status|abort|notify|watch|wsdl …        ./run.sh --help tells more
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

if [[ ! -x $root/.venv/bin/labwaiter ]]; then
    "$root/build.sh" >&2
fi
exec "$root/.venv/bin/python" "$root/test_client/client.py" "$@"
