#!/usr/bin/env bash
# Run the tests; what they need goes into .venv.
#   ./test.sh [pytest arguments]        e.g. ./test.sh -m "not slow", ./test.sh -k abort
set -euo pipefail
root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

"$root/build.sh" --dev
cd "$root"
# they mostly wait, so there are twice as many of them at work as there are cores; -n 0: one after another
exec .venv/bin/python -m pytest -n auto "$@"
