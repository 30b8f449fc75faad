#!/usr/bin/env bash
# What the gateway adds to a request: the same small model asked for one token directly, through the gateway by name, and as one of two that
# vote. One client, one connection, N requests each, in turns.   bench/fleet.sh [MOE2] [N]
set -eu
moe2=$(realpath "${1:-build/release/moe2}")
n=${2:-400}
model=$(cd "$(dirname "$0")/.." && pwd)/tests/fixtures/choice
tmp=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$tmp"' EXIT
export OMP_WAIT_POLICY=passive

listen() { # FILE: waits for the address in it
    for _ in $(seq 400); do
        grep -q 'listens on' "$1" && break
        sleep 0.05
    done
    sed -n 's/.* listens on //p' "$1"
}
"$moe2" serve --model "$model" --name direct --port 0 --threads 1 >"$tmp/serve" 2>"$tmp/err" &
pids+=($!)
printf 'experts: [a, b]\nmodels: [%s, %s]\nk: 2\nport: 0\n' "$model" "$model" >"$tmp/fleet.yaml"
"$moe2" fleet up --local --config "$tmp/fleet.yaml" >"$tmp/fleet" 2>"$tmp/err" &
pids+=($!)
gateway=$!
direct=$(listen "$tmp/serve")
fleet=$(listen "$tmp/fleet")

ticks() { awk '{ print $14 + $15 }' "/proc/$gateway/stat"; }
ask() { # NAME URL MODEL
    local body="{\"model\":\"$3\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"max_tokens\":1,\"temperature\":0}"
    local urls=() before after
    for _ in $(seq "$n"); do urls+=(-o /dev/null "$2/v1/chat/completions"); done
    before=$(ticks)
    curl -s -w '%{time_total}\n' -H 'Content-Type: application/json' -d "$body" "${urls[@]}" | sort -g >"$tmp/times"
    after=$(ticks)
    awk -v name="$1" -v cpu=$((after - before)) -v hz="$(getconf CLK_TCK)" '{ t[NR] = $1 * 1e3 } END {
        printf "%-24s median %.2f ms, p90 %.2f, p99 %.2f; gateway %.2f ms of CPU a request\n", name, t[int((NR + 1) / 2)],
            t[int(NR * .9)], t[int(NR * .99)], 1e3 * cpu / hz / NR }' "$tmp/times"
}
for _ in 1 2 3; do
    ask "direct" "$direct" direct
    ask "through the gateway" "$fleet" a
    ask "a vote of two" "$fleet" moe2
done
grep VmRSS "/proc/$gateway/status" | sed 's/VmRSS:[[:space:]]*/the gateway holds /'
