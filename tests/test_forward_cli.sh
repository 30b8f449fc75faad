#!/bin/bash
# What "moe2 forward" prints, writes and refuses. usage: test_forward_cli.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

printf 'question_id,category,answer,a,b,c\n1,x,A,1,1,0\n2,x,B,0,1,1\n3,y,C,1,0,1\n4,y,D,0,0,1\n' >"$work/o.csv"
printf 'question_id,a,b,c\n1,A,A,B\n2,A,B,B\n3,C,A,C\n4,A,A,D\n' >"$work/p.csv"
both=(--outcomes "$work/o.csv" --predictions "$work/p.csv")
"$moe2" forward "${both[@]}" --k 3 --out "$work/out" --json >"$work/json" 2>/dev/null
same "a vote of all: status" 0 "$?"
same "a vote of all" '{"questions":4,"correct":3,"accuracy":0.75' "$(cut -d, -f1-3 "$work/json")"
same "a line a question" 4 "$(wc -l <"$work/out/answers.jsonl")"
same "the best single one is named" c "$(grep -o '"best_single":"[a-c]"' "$work/json" | cut -d'"' -f4)"
"$moe2" forward --fit --learned "$work/l.json" "${both[@]}" --k 3 --text-free >"$work/text" 2>/dev/null
same "fitting: status" 0 "$?"
same "text-free weights look at no gate" 0 "$(grep -c '"gate"' "$work/l.json")"
"$moe2" forward --combine learned --learned "$work/l.json" "${both[@]}" --json >"$work/json" 2>/dev/null
same "the learned combination trusts c" '{"questions":4,"correct":4' "$(cut -d, -f1-2 "$work/json")"

fails() { # NAME STATUS WORDS_OF_THE_MESSAGE WORDS…: moe2 forward WORDS
    refused_alone "$1" "$2" "*$3*" "$moe2" forward "${@:4}"
}
fails "no outcomes" 2 "--outcomes is missing"
fails "an unknown combination" 2 '--combine is "mean"' "${both[@]}" --combine mean
fails "a gate that is missing" 2 "--gate-scores is missing" "${both[@]}" --k 2
fails "an expert that is not there" 2 'o.csv has no "z", did you mean "a"?' "${both[@]}" --subset z
fails "a file that is not there" 1 "No such file" --outcomes "$work/none.csv"
fails "a combination that was never fitted" 1 "No such file" "${both[@]}" --combine learned --learned "$work/none.json"
finish
