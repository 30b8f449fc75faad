#!/bin/bash
# What "moe2 profile" prints, writes and refuses. usage: test_profile_cli.sh MOE2
set -u
moe2=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

check() { # what, wanted, seen
    if [ "$2" != "$3" ]; then
        printf 'FAILED: %s\n  wanted: %s\n  seen:   %s\n' "$1" "$2" "$3"
        failed=1
    fi
}

printf 'expert,device,prompt_tokens,output_tokens,latency_s,energy_j\nb,x,100,10,1.0,4\nb,x,200,10,1.5,5\na,x,100,20,2,9\n' >"$work/runs.csv"
"$moe2" profile --import "$work/runs.csv" --out "$work/out" --json >"$work/table.json" 2>/dev/null
check "measurements: status" 0 "$?"
check "the table is JSON of two rows" 2 "$(grep -o '"expert"' "$work/table.json" | wc -l)"
check "experts keep the order of the file" b "$(grep -o '"[ab]": {' "$work/out/latency/latency.json" | head -1 | cut -c2)"
check "each curve says that it was measured" 2 "$(grep -c '"source": "measured"' "$work/out/energy/energy.json")"
"$moe2" profile --import "$work/runs.csv" --out "$work/again" >/dev/null 2>&1
cmp -s "$work/out/latency/latency.json" "$work/again/latency/latency.json"
check "the same input gives the same bytes" 0 "$?"

refused() { # what, status, a part of the message, then the arguments
    local what=$1 status=$2 part=$3
    shift 3
    "$moe2" profile "$@" >"$work/stdout" 2>"$work/stderr"
    check "$what: status" "$status" "$?"
    check "$what: nothing on standard output" "" "$(cat "$work/stdout")"
    check "$what: one line" 1 "$(wc -l <"$work/stderr")"
    grep -qF -- "$part" "$work/stderr" || check "$what: message" "…$part…" "$(cat "$work/stderr")"
}
refused "nothing to import" 2 "wanted --import SOURCE, or --models [NAME=]DIR,"
refused "a file that is not there" 1 "No such file" --import "$work/none.csv" --out "$work/x"
mkdir "$work/empty"
refused "a folder without tables" 1 "scorecard.csv" --import "$work/empty" --out "$work/x"
printf 'expert,prompt_tokens,output_tokens,latency_s\na,1,1\n' >"$work/bad.csv"
refused "a row that is too short" 1 "bad.csv:2" --import "$work/bad.csv" --out "$work/x"
refused "a curve that is not there" 2 "there is no curve" --import "$work/runs.csv" --models "$work/bad.csv" --out "$work/x"
refused "negative lengths" 2 "wanted at least 0" --import "$work/runs.csv" --output-tokens -4 --out "$work/x"
check "what was refused wrote nothing" no "$([ -e "$work/x" ] && echo yes || echo no)"
exit $failed
