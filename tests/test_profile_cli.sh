#!/bin/bash
# What "moe2 profile" prints, writes and refuses. usage: test_profile_cli.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

printf 'expert,device,prompt_tokens,output_tokens,latency_s,energy_j\nb,x,100,10,1.0,4\nb,x,200,10,1.5,5\na,x,100,20,2,9\n' >"$work/runs.csv"
"$moe2" profile --import "$work/runs.csv" --out "$work/out" --json >"$work/table.json" 2>/dev/null
same "measurements: status" 0 "$?"
same "the table is JSON of two rows" 2 "$(grep -o '"expert"' "$work/table.json" | wc -l)"
same "experts keep the order of the file" b "$(grep -o '"[ab]": {' "$work/out/latency/latency.json" | head -1 | cut -c2)"
same "each curve says that it was measured" 2 "$(grep -c '"source": "measured"' "$work/out/energy/energy.json")"
"$moe2" profile --import "$work/runs.csv" --out "$work/again" >/dev/null 2>&1
cmp -s "$work/out/latency/latency.json" "$work/again/latency/latency.json"
same "the same input gives the same bytes" 0 "$?"

fails() { # NAME STATUS WORDS_OF_THE_MESSAGE WORDS…: moe2 profile WORDS
    refused_alone "$1" "$2" "*$3*" "$moe2" profile "${@:4}"
}
fails "nothing to import" 2 "wanted --import SOURCE, or --models ?NAME=?DIR,"
fails "a file that is not there" 1 "No such file" --import "$work/none.csv" --out "$work/x"
mkdir "$work/empty"
fails "a folder without tables" 1 "scorecard.csv" --import "$work/empty" --out "$work/x"
printf 'expert,prompt_tokens,output_tokens,latency_s\na,1,1\n' >"$work/bad.csv"
fails "a row that is too short" 1 "bad.csv:2" --import "$work/bad.csv" --out "$work/x"
fails "a curve that is not there" 2 "there is no curve" --import "$work/runs.csv" --models "$work/bad.csv" --out "$work/x"
fails "negative lengths" 2 "wanted at least 0" --import "$work/runs.csv" --output-tokens -4 --out "$work/x"
same "what was refused wrote nothing" no "$([ -e "$work/x" ] && echo yes || echo no)"
finish
