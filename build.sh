#!/usr/bin/env bash
# Make ready what ./run.sh needs, the test client: its container where an engine answers, else .venv here, with all
# that the service needs, too. Quick when it is there already.
#   ./build.sh [--local | --docker]
#   ./build.sh --dev    .venv for the tests and checks, too
# PYTHON=python3.13 ./build.sh chooses the Python; else it is .venv's, python3, or the newest python3.x that fits.
set -euo pipefail
root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
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

# how pip and Python are elsewhere is nothing for here; how pip reaches what it installs is
for one in $(compgen -e PYTHON) $(compgen -e PIP_); do
    case $one in
    PYTHON | PYTHON_* | PIP_CERT | PIP_CLIENT_CERT | PIP_CONFIG_FILE | PIP_*INDEX* | PIP_FIND_LINKS | PIP_TRUSTED_HOST | PIP_PROXY | \
        PIP_*TIMEOUT | PIP_RETRIES | PIP_*CACHE_DIR | PIP_KEYRING_PROVIDER) ;;
    *) unset "$one" ;;
    esac
done
export PIP_USER=0 # also where a pip.conf says otherwise

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 16))' >/dev/null 2>&1; }
version() { "$1" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null; }

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        if ! fits "$PYTHON"; then
            if [[ ! -x $(command -v -- "$PYTHON" || true) ]]; then
                echo "PYTHON=$PYTHON is no program that user $(id -u) may run: name a Python from 3.11 to 3.15 that is." >&2
                return 1
            fi
            echo "PYTHON=$PYTHON is no Python 3.11 to 3.15: name one that is." >&2
            return 1
        fi
        echo "$PYTHON"
        return
    fi
    for candidate in .venv/bin/python python3 python3.15 python3.14 python3.13 python3.12 python3.11; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "labwaiter needs a Python from 3.11 to 3.15, and none was found: install one, or name it in PYTHON=…" >&2
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

if [[ -e .venv && ! -O .venv ]]; then
    echo "$PWD/.venv is another user's, doesn't fit, and is left alone: make a clone of your own, or call this as" \
        "that user." >&2
    exit 1
fi
for place in . .venv; do
    if [[ -e $place && ! -w $place ]]; then
        echo "$PWD can't be written by user $(id -u), so no .venv can be made here: make a clone of your own." >&2
        exit 1
    fi
done

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
# setuptools can say a path of other letters only in a locale that has them
pip() { LC_ALL=C.UTF-8 .venv/bin/python -m pip --disable-pip-version-check --no-input install -qq "$@" 9>&-; }
pip --require-hashes -r requirements-build.txt
pip --require-hashes --no-build-isolation -r "$lock"
pip -r "$own"
pip --no-build-isolation --no-deps --editable .
for file in .venv/lib/python*/site-packages/__editable__.labwaiter-*.pth; do
    echo ../../../../app >"$file" # it is read in the locale of whoever starts: letters of ASCII are in each
done
echo "$want" >"$stamp"
if [[ $lock == requirements-dev.txt ]]; then # it holds all of the other
    lock=requirements.txt
    wanted "$python" >".venv/labwaiter-$lock.stamp"
fi
