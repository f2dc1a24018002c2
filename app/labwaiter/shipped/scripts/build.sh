#!/usr/bin/env bash
# build.sh of a lab's folder: make ready what runs. FOLDER PYTHON [--local | --docker | --dev]
set -euo pipefail
root=$1 python=$2
shift 2
scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cd "$root"
. "$scripts/engine.sh"

lock=requirements.txt
local='' dev=''
for argument in "$@"; do
    case $argument in
    --dev) lock=requirements-dev.txt local=yes dev=yes ;;
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
        echo "Building the image $image with labwaiter $(version) …"
        if build_image "$engine"; then
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
# setuptools can say a path of other letters only in a locale that has them
pip() { LC_ALL=C.UTF-8 "$python" -m pip --disable-pip-version-check --no-input install -qq "$@" 9>&-; }
own=app/services/requirements.txt # what the services here need

if [[ -n $clone ]]; then
    . "$scripts/venv_of_clone.sh"
    exit
fi
needs=()
if grep -qs '^[[:space:]]*[^#[:space:]]' "$own"; then
    needs=(-r "$own")
fi
if [[ -n $dev ]] && ! "$python" -c 'import pytest' >/dev/null 2>&1; then
    needs+=('labwaiter[testing]')
fi
if ((${#needs[@]})); then
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        echo "$python has no pip: install into its environment what is missing, ${needs[*]}, by what made it." >&2
        exit 1
    fi
    if ! pip ${needs[@]+"${needs[@]}"}; then
        echo "${needs[*]} could not be installed into the environment of $python; above is why." >&2
        exit 1
    fi
fi
