#!/usr/bin/env bash
# Build it, start it (or replace what runs), try it, and return.
#   ./rebuildandrun.sh [port] [--local | --docker] [--force]        default: PORT in the file env, else 8080
# With a container engine it builds the image and runs it as the container `waiter` (NAME=… names it otherwise); a
# container with running jobs is only replaced with --force. Without one, or with --local, it makes .venv here and
# runs on this machine itself; there a second call replaces the web side, and running jobs go on.
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$root/deploy/engine.sh"

usage() {
    echo "usage: ./rebuildandrun.sh [port] [--local | --docker] [--force]" >&2
    exit 2
}

port='' force='' wanted=''
for argument in "$@"; do
    case $argument in
    --local) wanted=local ENGINE=none ;;
    --docker) wanted=docker ENGINE=${ENGINE:-docker} ;;
    --force) force=yes ;;
    *)
        [[ -z $port && $argument =~ ^[0-9]+$ ]] || usage
        port=$argument
        ;;
    esac
done

run_here() {
    "$root/build.sh" --local
    "$root/.venv/bin/labwaiter" start --try ${port:+--port "$port"}
    echo "Next: ./run.sh ${port:+$port }start, ./run.sh ${port:+$port }status; ./stop.sh ends it."
}

engine=$(engine)
if [[ -z $engine ]]; then
    [[ $wanted != docker ]] || { echo "--docker: no container engine answers here." >&2; exit 1; }
    run_here
    exit
fi

echo "Building the image $image $(version) …"
if ! build_images "$engine"; then
    [[ -z $wanted && -z ${ENGINE:-} ]] || exit 1
    echo "So it runs on this machine itself, as with --local."
    run_here
    exit
fi

port=${port:-${PORT:-$(setting PORT 8080)}}
host=${HOST:-$(setting HOST 127.0.0.1)}
seconds=$(setting STOP_SECONDS 10)
if exists "$engine"; then
    if ! is_ours "$engine"; then
        echo "A container named $name is there that wasn't started from this folder: remove it, or name this one" \
            "otherwise (NAME=… $0)." >&2
        exit 1
    fi
    if is_running "$engine" && [[ -z $force ]]; then
        jobs=$(running_jobs "$engine")
        if ((jobs > 0)); then
            echo "The container $name has $jobs running or waiting jobs, which would be stopped:" \
                "wait for them, or say --force." >&2
            exit 1
        fi
    fi
    "$engine" stop -t "$seconds" "$name" >/dev/null
    "$engine" rm "$name" >/dev/null
fi
"$engine" run -d -p "$host:$port:80" --env-file="$root/env" --name "$name" --stop-timeout "$seconds" \
    --label "labwaiter.clone=$root" --restart unless-stopped -v "${name}_logs:/waiter_logs" -v "${name}_files:/waiter_files" "$image" >/dev/null
for _ in $(seq 60); do
    if why=$("$engine" exec "$name" labwaiter health 2>&1); then
        break
    fi
    sleep 0.5 # an engine tells nobody when a container's service listens
done
if ! "$engine" exec "$name" labwaiter health >/dev/null 2>&1; then
    "$engine" logs --tail 12 "$name" >&2 || true
    echo "The container $name runs, but doesn't answer: $why" >&2
    exit 1
fi

offered=$("$engine" exec "$name" labwaiter health | sed -n 's/.*its services: \(.*\)\.$/\1/p' | tr -d ',')
at=http://localhost:$port$(setting CONTEXT_ROOT '')
if [[ " $offered " == *" Waiter "* ]]; then
    echo "Trying it: a Waiter of five seconds …" >&2
    if ! said=$(cd /tmp && call_client "$engine" --url "$at/waiter/Waiter?wsdl" --page /tmp/status.html watch --every 1 \
        secondsToWait=5 2>&1); then
        tail -n 12 <<<"$said" >&2
        echo "The container $name runs, but its Waiter did not complete." >&2
        exit 1
    fi
    echo "It has completed." >&2
fi
echo "labwaiter $(version) runs in the container $name at $at/"
for service in $offered; do
    echo "  WSDL of $service: $at/${service,,}/$service?wsdl"
done
cat <<END
  Jobs: the volume ${name}_logs; files for inputs: the volume ${name}_files
  Logs: $engine logs $name; what runs: $engine exec $name labwaiter jobs list
  Every sessionToken is accepted in this release: let only callers you trust reach it.
Next: ./run.sh $port start, ./run.sh $port status; ./stop.sh ends it.
END
