#!/usr/bin/env bash
# Run the tests; what they need goes into .venv.
#   ./test.sh                           what a developer needs, in some minutes: all but those that are marked slow
#   ./test.sh --all                     all of them
#   ./test.sh [pytest arguments]        what these name, e.g. ./test.sh -k abort, ./test.sh tests/soap; docs/tests.md
set -euo pipefail
root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

"$root/build.sh" --dev
cd "$root"
# they mostly wait, so there are twice as many of them at work as there are cores; -n 0: one after another
exec .venv/bin/python -m pytest -n auto "$@"
