# shellcheck shell=bash
# What the scripts beside this one share. Sourced, with the lab's folder in $root and labwaiter's Python in $python.
#   ENGINE=docker|podman|none chooses; unset: docker where it answers, else podman. NAME: the container's name; default:
#   that of the lab's folder, in a clone waiter.

: "${root:?}" "${python:?}"
package=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
clone=''
# shellcheck disable=SC2034 # those that source this ask for it
[[ $package != "$root/app/labwaiter" ]] || clone=yes # a clone of labwaiter brings its own, where no Python is, too
if [[ -n $clone ]]; then
    name=${NAME:-waiter}
    image=labwaiter
else
    image=$(basename "$root" | LC_ALL=C tr '[:upper:]' '[:lower:]' | LC_ALL=C tr -cs 'a-z0-9' '-' | sed 's/^-*//; s/-*$//')
    name=${NAME:-${image:-lab}}
    image=labwaiter-${image:-lab}
fi

engine() { # the engine's command, or nothing
    case ${ENGINE:-auto} in
    none) ;;
    auto)
        local candidate
        for candidate in docker podman; do
            if "$candidate" info >/dev/null 2>&1; then
                echo "$candidate"
                return
            fi
        done
        ;;
    *)
        if ! "$ENGINE" info >/dev/null 2>&1; then
            echo "ENGINE=$ENGINE: no such engine answers." >&2
            return 1
        fi
        echo "$ENGINE"
        ;;
    esac
}

mute_engine() { # one that is installed, and could be chosen, and doesn't answer; or nothing
    local candidate
    [[ ${ENGINE:-auto} == auto ]] || return 0
    for candidate in docker podman; do
        if command -v "$candidate" >/dev/null && ! "$candidate" info >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
}

is_installed() { [[ -z $clone || -x $root/.venv/bin/labwaiter ]]; } # a lab that is no clone was found by it

labwaiter() {
    if [[ ! -x $python ]]; then
        echo "$root/.venv has a Python that user $(id -u) may not run: make a clone of your own, or call this as its user." >&2
        return 1
    fi
    # -EP: as Python is wanted elsewhere is nothing for here
    "$python" -EP -m labwaiter --deployment "$root" "$@"
}

settings() { # ENGINE [PORT]: what the file env and the environment set, judged in the image; PORT wins over both
    local one from=$root/env given=(--env HOST= --env "PORT=") # the image has its own
    for one in $(compgen -e); do
        if grep -q "\"$one\"" "$package/settings.py"; then
            given+=(--env "$one")
        fi
    done
    [[ -e $from ]] || from=/dev/null
    "$1" run --rm -i --network host ${given[@]+"${given[@]}"} ${2:+--env "PORT=$2"} "$image" settings --stdin --port "$(published "$1")" <"$from"
}

setting() { sed -n "s/^$1=//p"; } # of what these say on stdin

published() { # the port of the container's that is there, or else the default
    local port
    port=$("$1" container inspect -f '{{range index .HostConfig.PortBindings "80/tcp"}}{{.HostPort}}{{end}}' "$name" 2>/dev/null) || true
    echo "${port:-8080}"
}

in_lower_case() { LC_ALL=C tr '[:upper:]' '[:lower:]' <<<"$1"; } # of a service's name; Turkish would make another letter of I

version() { sed -n 's/^__version__ = "\(.*\)"/\1/p' "$package/__init__.py"; }

build_image() { # what the engine says goes into a file
    local log
    [[ -n $clone ]] || labwaiter wheel "$root/wheels" >/dev/null || return 1 # what the image installs
    log=$(mktemp)
    if ! "$1" build --build-arg "VERSION=$(version)" -t "$image" "$root" >"$log" 2>&1; then
        tail -n 8 "$log" >&2
        rm -f "$log"
        echo "The image $image could not be built; above is why." >&2
        return 1
    fi
    rm -f "$log"
}

exists() { "$1" container inspect "$name" >/dev/null 2>&1; }

is_running() { [[ $("$1" container inspect -f '{{.State.Running}}' "$name" 2>/dev/null) == true ]]; }

is_ours() { # a container of that name may be somebody else's, or another clone's
    [[ $("$1" container inspect -f '{{index .Config.Labels "labwaiter.clone"}}' "$name") == "$root" ]]
}

running_jobs() { # how many jobs have not ended in it
    "$1" exec "$name" labwaiter jobs list --state queued --state running --json 2>/dev/null | grep -c '"serviceID"' || true
}

called_at() { # ENGINE: the address of the deployment in its container, as the start has noted it there
    "$1" container inspect -f '{{index .Config.Labels "labwaiter.at"}}' "$name"
}

call_client() { # ENGINE ADDRESS …: the test client, here or where Python is missing in a container of the image
    # That has the calling user and folder, and the network of the service's container, where that listens on 80: on
    # the host's, a container of Docker Desktop would be in a machine of its own. Another address that is named is
    # called over the host's.
    local engine=$1 at=$2 network=host via='' tty=() port
    shift 2
    if is_installed; then
        TEST_CLIENT_AT=$at "$python" -E "$root/test_client/client.py" "$@"
        return
    fi
    port=$(sed -nE 's,^http://[^/]*:([0-9]+)(/.*)?$,\1,p' <<<"$at")
    if is_running "$engine" && is_ours "$engine" && [[ " $* " != *" --url"[=\ ]* ]]; then
        local asked=${PORT:-$port}
        [[ ! ${1:-} =~ ^[0-9]+$ ]] || asked=$1
        if [[ $asked == "$port" ]]; then
            network=container:$name via=127.0.0.1:80
        fi
    fi
    [[ -t 0 && -t 1 ]] && tty=(-t)
    "$engine" run --rm -i ${tty[@]+"${tty[@]}"} --network "$network" --user "$(id -u):$(id -g)" --env SESSION_TOKEN --env "PORT=${PORT:-}" \
        --env TEST_CLIENT_DEPLOYMENT --env "TEST_CLIENT_AT=$at" --env "TEST_CLIENT_VIA=$via" --env TEST_CLIENT_LAST=/last/.last.json \
        --volume "$PWD:/work" --workdir /work --volume "$root/test_client:/last" --entrypoint python "$image" -P -m labwaiter.test_client "$@"
}

next_words() { # SERVICE …, which are offered: what to do now
    local first='./run.sh start, ./run.sh status; '
    [[ " $* " == *" Waiter "* ]] || first="${1:+./run.sh watch --service $1; }"
    echo "Next: $first./stop.sh ends it."
}
