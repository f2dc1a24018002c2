# shellcheck shell=bash
# .venv of a clone of labwaiter: from its hashed requirements, and with its source. Sourced by build.sh in the clone's
# folder, with $lock, $own and pip.
# PYTHON=python3.13 ./build.sh chooses the Python; else it is .venv's, python3, or the newest python3.x that fits.

: "${lock:?}" "${own:?}" "${python:?}"

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 16))' >/dev/null 2>&1; }
python_version() { "$1" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null; }

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

# what the folder's content depends on: the locks, the Python, and where it stands (scripts hold its path)
wanted() { { cat requirements-build.txt "$lock" "$own" pyproject.toml; python_version "$1"; pwd; } | sha256sum | cut -d' ' -f1; }

base=$(find_python)
base=$("$base" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))') # not .venv's own
stamp=.venv/labwaiter-$lock.stamp
want=$(wanted "$base")
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
echo "Making .venv with $("$base" -V) from $lock …"
if [[ "$(python_version .venv/bin/python)" != "$(python_version "$base")" || "$(cat .venv/labwaiter-place 2>/dev/null)" != "$PWD" ]]; then
    rm -rf .venv
    if ! "$base" -m venv .venv 9>&-; then
        rm -rf .venv
        echo "$base can't make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
    pwd >.venv/labwaiter-place
fi
rm -f .venv/*.stamp
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
    wanted "$base" >".venv/labwaiter-$lock.stamp"
fi
