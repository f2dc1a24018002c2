#!/usr/bin/env bash
# rebuildandrun.sh of a lab's folder: build it, start it (or replace what runs), try it, and return.
# FOLDER PYTHON [port] [--local | --docker] [--force]
set -euo pipefail
root=$1 python=$2
shift 2
scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$scripts/engine.sh"

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
    local said
    bash "$scripts/build.sh" "$root" "$python" --local
    said=$(labwaiter start --try ${port:+--port "$port"})
    echo "$said"
    # shellcheck disable=SC2046 # a word each
    next_words $(sed -n 's/^  WSDL of \([A-Za-z0-9]*\): .*/\1/p' <<<"$said")
}

engine=$(engine)
if [[ -z $engine ]]; then
    [[ $wanted != docker ]] || { echo "--docker: no container engine answers here." >&2; exit 1; }
    run_here
    exit
fi

echo "Building the image $image with labwaiter $(version) …"
if ! build_image "$engine"; then
    [[ -z $wanted && -z ${ENGINE:-} ]] || exit 1
    echo "So it runs on this machine itself, as with --local."
    run_here
    exit
fi

before=$name-before moved='' was=none
exists "$engine" || "$engine" rename "$before" "$name" >/dev/null 2>&1 || true # the last call was ended in the middle
judged=$(settings "$engine" "$port") || exit 2 # before anything is replaced
port=$(setting PORT <<<"$judged")
host=$(setting HOST <<<"$judged")
seconds=$(setting STOP_SECONDS <<<"$judged")
at=$(setting AT <<<"$judged")
[[ $host != *:* ]] || host="[$host]"

if exists "$engine"; then
    if ! is_ours "$engine"; then
        echo "A container named $name is there that wasn't started from this folder: remove it, or name this one" \
            "otherwise (NAME=… ./rebuildandrun.sh)." >&2
        exit 1
    fi
    was=stopped
    if is_running "$engine"; then
        was=running
        jobs=$(running_jobs "$engine")
        if [[ -z $force ]] && ((jobs > 0)); then
            echo "The container $name has $jobs running or waiting jobs, which would be stopped:" \
                "wait for them, or say --force." >&2
            exit 1
        fi
        [[ $(published "$engine") == "$port" ]] || moved=" (until now at port $(published "$engine"))"
    fi
    "$engine" stop "$name" >/dev/null
    "$engine" rm -f "$before" >/dev/null 2>&1 || true
    "$engine" rename "$name" "$before"
fi

give_up() { # with a reason: what was there before is there again
    echo "$1" >&2
    if [[ $was == none ]]; then
        "$engine" stop "$name" >/dev/null 2>&1 || true # it would be started again and again; its log stays
        exit 1
    fi
    "$engine" rm -f "$name" >/dev/null 2>&1 || true
    "$engine" rename "$before" "$name"
    if [[ $was == running ]]; then
        "$engine" start "$name" >/dev/null && echo "What ran before runs again." >&2
    fi
    exit 1
}

# whoever is not root may listen on 80 in it: so it is in Docker anyway, and not in Podman
if ! why=$("$engine" run -d -p "$host:$port:80" --env-file=<(sed -E '/^(HOST|PORT|AT)=/d' <<<"$judged") --name "$name" \
    --env "LABWAITER_PUBLISHED=$(sed -E 's,^http://([^/]*).*,\1,' <<<"$at")" --stop-timeout "$seconds" --label "labwaiter.clone=$root" \
    --sysctl net.ipv4.ip_unprivileged_port_start=0 --label "labwaiter.at=$at" --restart unless-stopped -v "${name}_logs:/waiter_logs" -v "${name}_files:/waiter_files" "$image" 2>&1); then
    give_up "The container $name can't be started: $(tail -n 1 <<<"$why")"
fi
for _ in $(seq 60); do
    if [[ $("$engine" container inspect -f '{{.State.Running}} {{.RestartCount}}' "$name") != 'true 0' ]]; then
        "$engine" logs --tail 12 "$name" >&2 || true
        give_up "The container $name ended as soon as it had begun; above is why."
    fi
    if health=$("$engine" exec "$name" labwaiter health 2>&1); then
        break
    fi
    sleep 0.5 # an engine tells nobody when a container's service listens
done
if ! health=$("$engine" exec "$name" labwaiter health 2>&1); then
    "$engine" logs --tail 12 "$name" >&2 || true
    give_up "The container $name runs, but doesn't answer: $health"
fi
[[ $was == none ]] || "$engine" rm "$before" >/dev/null

offered=$(sed -n 's/.*its services: \(.*\)\.$/\1/p' <<<"$health" | tr -d ',')
if [[ " $offered " == *" Waiter "* && $(setting TOKENS <<<"$judged") == none ]]; then
    echo "Trying it: a Waiter of five seconds …" >&2
    if ! said=$(cd /tmp && call_client "$engine" "$at" --page /dev/null watch --every 1 secondsToWait=5 2>&1); then
        tail -n 12 <<<"$said" >&2
        echo "The container $name runs, but its Waiter did not complete." >&2
        exit 1
    fi
    echo "It has completed." >&2
fi
echo "labwaiter $(version) runs in the container $name at $at/$moved"
for service in $offered; do
    echo "  WSDL of $service: $at/$(in_lower_case "$service")/$service?wsdl"
done
grep -F 'lab.toml' <<<"$health" >&2 || true
may_call=$(grep -F 'sessionToken' <<<"$health" || true)
cat <<END
  Jobs: the volume ${name}_logs; files for inputs: the volume ${name}_files
  Logs: $engine logs $name; what runs: $engine exec $name labwaiter jobs list
  $may_call
END
# shellcheck disable=SC2086 # a word each
next_words $offered
