#!/usr/bin/env bash
# Run the tests; what they need goes into .venv.
#   ./test.sh [pytest arguments]        e.g. ./test.sh -m "not slow", ./test.sh -k abort
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

"$root/build.sh" --dev
cd "$root"
exec .venv/bin/python -m pytest "$@"
