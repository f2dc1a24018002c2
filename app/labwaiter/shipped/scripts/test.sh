#!/usr/bin/env bash
# test.sh of a lab's folder: run its tests. FOLDER PYTHON [pytest arguments]
set -euo pipefail
root=$1 python=$2
shift 2
scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$scripts/engine.sh"

bash "$scripts/build.sh" "$root" "$python" --dev
cd "$root"
# a clone's mostly wait, so there are twice as many of them at work as there are cores; -n 0: one after another
exec "$python" -m pytest ${clone:+-n auto} "$@"
