#!/usr/bin/env bash
# Make ready what ./run.sh needs, the test client: its container where an engine answers, else .venv here, with all
# that the service needs, too. Quick when it is there already.
#   ./build.sh [--local | --docker]
#   ./build.sh --dev    .venv for the tests and checks, too
# PYTHON=python3.13 ./build.sh chooses the Python; else python3, or the newest python3.x that fits.
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cd "$root"
. deploy/engine.sh

lock=requirements.txt
local=''
for argument in "$@"; do
    case $argument in
    --dev) lock=requirements-dev.txt local=yes ;;
    --local) local=yes ;;
    --docker) ENGINE=${ENGINE:-docker} ;;
    *)
        echo "usage: ./build.sh [--local | --docker | --dev]" >&2
        exit 2
        ;;
    esac
done

if [[ -z $local ]]; then
    engine=$(engine)
    if [[ -n $engine ]]; then
        echo "Building the images of labwaiter $(version) and its test client …"
        if build_images "$engine"; then
            exit
        fi
        [[ -z ${ENGINE:-} ]] || exit 1
        echo "So it is made for this machine itself, as with --local."
    fi
fi

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
version() { "$1" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null; }

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        if ! fits "$PYTHON"; then
            echo "PYTHON=$PYTHON is no Python 3.11 or newer." >&2
            return 1
        fi
        echo "$PYTHON"
        return
    fi
    for candidate in .venv/bin/python python3 python3.13 python3.12 python3.11; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "labwaiter needs Python 3.11 or newer and found none: install one, or name it in PYTHON=…" >&2
    return 1
}

own=app/services/requirements.txt # what the services here need
# what the folder's content depends on: the locks, the Python, and where it stands (scripts hold its path)
wanted() { { cat requirements-build.txt "$lock" "$own" pyproject.toml; version "$1"; pwd; } | sha256sum | cut -d' ' -f1; }

python=$(find_python)
python=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))') # not .venv's own
stamp=.venv/labwaiter-$lock.stamp
want=$(wanted "$python")
if [[ -x .venv/bin/labwaiter && -f $stamp && $(<"$stamp") == "$want" ]]; then
    exit 0
fi

exec 9<build.sh # of two at once, the second finds it made
flock 9
if [[ -x .venv/bin/labwaiter && -f $stamp && $(<"$stamp") == "$want" ]]; then
    exit 0
fi
echo "Making .venv with $("$python" -V) from $lock …"
if [[ "$(version .venv/bin/python)" != "$(version "$python")" || "$(cat .venv/labwaiter-place 2>/dev/null)" != "$PWD" ]]; then
    rm -rf .venv
    if ! "$python" -m venv .venv 9>&-; then
        rm -rf .venv
        echo "$python can't make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
    pwd >.venv/labwaiter-place
fi
rm -f .venv/*.stamp
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input install -qq "$@" 9>&-; }
pip --require-hashes -r requirements-build.txt
pip --require-hashes --no-build-isolation -r "$lock"
pip -r "$own"
pip --no-build-isolation --no-deps --editable .
echo "$want" >"$stamp"
if [[ $lock == requirements-dev.txt ]]; then # it holds all of the other
    lock=requirements.txt
    wanted "$python" >".venv/labwaiter-$lock.stamp"
fi
