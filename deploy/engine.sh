# shellcheck shell=bash
# What the scripts above share where containers are asked for. Sourced, with the clone's folder in $root.
#   ENGINE=docker|podman|none chooses; unset: docker, where one answers. NAME: the container's name, waiter.

: "${root:?}"
name=${NAME:-waiter}
image=labwaiter
client=labwaiter-client

engine() { # the engine's command, or nothing
    case ${ENGINE:-auto} in
    none) ;;
    auto) if docker info >/dev/null 2>&1; then echo docker; fi ;;
    *)
        if ! "$ENGINE" info >/dev/null 2>&1; then
            echo "ENGINE=$ENGINE: no such engine answers." >&2
            return 1
        fi
        echo "$ENGINE"
        ;;
    esac
}

setting() { # the value that the file env gives a name, or the default
    local value
    value=$(sed -n "s/^$1=//p" "$root/env" | tail -n 1)
    echo "${value:-$2}"
}

version() { sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/app/labwaiter/__init__.py"; }

build_images() { # of the service and of its test client; what the engine says goes into a file
    local log
    log=$(mktemp)
    for target in client service; do
        local tag=$image
        [[ $target == client ]] && tag=$client
        if ! "$1" build --target "$target" --build-arg "VERSION=$(version)" -t "$tag" "$root" >"$log" 2>&1; then
            tail -n 8 "$log" >&2
            rm -f "$log"
            echo "The image $tag could not be built; above is why." >&2
            return 1
        fi
    done
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

call_client() { # the test client in its container, as the calling user, in the calling folder
    local tty=()
    [[ -t 0 && -t 1 ]] && tty=(-t)
    "$1" run --rm -i "${tty[@]}" --network host --user "$(id -u):$(id -g)" --env-file "$root/env" \
        --env SESSION_TOKEN --env PORT --env TEST_CLIENT_LAST=/last/.last.json \
        --volume "$PWD:/work" --volume "$root/test_client:/last" "$client" "${@:2}"
}
