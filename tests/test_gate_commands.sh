#!/bin/bash
# What "moe2 gate train" and "moe2 gate eval" write, print and refuse. usage: test_gate_commands.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

fails() { # NAME STATUS MESSAGE WORDS…: moe2 gate WORDS
    refused "$1" "$2" "moe2 gate $4: $3" "$moe2" gate "${@:4}"
    same "$1: nothing on standard output" "" "$(cat refused.out)"
}

# ---- sixty questions on two topics; ada knows law, bob knows physics ----
echo 'question_id,category,answer,ada,bob' >"$work/o.csv"
for i in $(seq 30); do
    echo "{\"question\": \"The court heard the defendant and the judge, case $i.\"}" >>"$work/q.jsonl"
    echo "$((2 * i)),law,A,$((i % 10 != 0)),$((i % 7 == 0))" >>"$work/o.csv"
    echo "{\"question\": \"An electron moves through the magnetic field, run $i.\"}" >>"$work/q.jsonl"
    echo "$((2 * i + 1)),physics,B,$((i % 5 == 0)),$([ "$i" = 9 ] || echo $((i % 9 != 0)))" >>"$work/o.csv"
done
"$moe2" embed --features hashed --fit "$work/q.jsonl" --in "$work/q.jsonl" --out "$work/e.npy" --dim 32 >/dev/null 2>&1
in=(--embeddings "$work/e.npy" --outcomes "$work/o.csv")
for kind in sigmoid softmax knn kmeans category ensemble; do
    "$moe2" gate train "${in[@]}" --out "$work/$kind" --kind $kind --hidden 16 --lr 0.02 >"$work/t_$kind" 2>/dev/null
    same "$kind trains" 0 "$?"
    same "$kind writes scores of its shape" 1 "$(head -c 128 "$work/$kind/oof_scores.npy" | grep -ac "'<f4'.*(60, 2)")"
    "$moe2" gate eval --gate "$work/$kind" "${in[@]}" --scores "$work/s_$kind.npy" --json >"$work/j_$kind" 2>/dev/null
    same "$kind is judged" 0 "$?"
    same "$kind finds out who is good at what" 1 "$(sed -n '/"top1"/,/}/p' "$work/j_$kind" | grep '"value"' | grep -c '0\.[89]')"
done
same "the diagram is drawn where the scores are probabilities" "yes no" \
    "$( (command -v gnuplot >/dev/null && [ ! -f "$work/knn/reliability.svg" ]) && echo no || echo yes) $([ -f "$work/softmax/reliability.svg" ] && echo yes || echo no)"
same "missing outcomes are told" 1 "$(grep -c '^1 outcomes are missing' "$work/t_knn")"
same "without gnuplot the rest is there" "0 1" \
    "$("$moe2" gate train "${in[@]}" --out "$work/n" --kind knn --gnuplot /nothing/gnuplot >/dev/null 2>"$work/err"; echo $? "$(grep -c 'no reliability diagram' "$work/err")")"
for n in 1 2; do "$moe2" gate train "${in[@]}" --out "$work/t$n" --threads $n --hidden 16 >/dev/null 2>&1; done
cmp -s "$work/t1/gating.safetensors" "$work/t2/gating.safetensors" && cmp -s "$work/t1/oof_scores.npy" "$work/t2/oof_scores.npy"
same "the same bits with one thread and two" 0 "$?"

# ---- columns go by name ----
awk -F, -v OFS=, '{ print $1, $2, $3, $5, $4 }' "$work/o.csv" >"$work/swapped.csv"
"$moe2" gate eval --gate "$work/knn" --embeddings "$work/e.npy" --outcomes "$work/swapped.csv" --json >"$work/j_swapped" 2>/dev/null
same "the order of the outcomes' columns changes nothing" "$(sed -n '/"top1"/,/}/p' "$work/j_knn")" "$(sed -n '/"top1"/,/}/p' "$work/j_swapped")"
same "--experts restricts the choice" 1 "$("$moe2" gate eval --gate "$work/knn" "${in[@]}" --experts bob 2>/dev/null | grep -c 'first choice *51.67')"
"$moe2" gate eval --gate "$work/knn" --embeddings "$work/e.npy" --scores "$work/new.npy" >/dev/null 2>&1
cmp -s "$work/new.npy" "$work/s_knn.npy"
same "rows without outcomes are scored alike" 0 "$?"
"$moe2" gate train "${in[@]}" --out "$work/again" --kind knn >/dev/null 2>&1
cmp -s "$work/again/gating.safetensors" "$work/knn/gating.safetensors"
same "the same command writes the same bytes" 0 "$?"

# ---- bad input ----
"$moe2" embed --features hashed --fit "$work/q.jsonl" --in "$work/q.jsonl" --out "$work/e16.npy" --dim 16 >/dev/null 2>&1
fails "vectors of another length" 1 "$work/e16.npy: vectors of 16 numbers, wanted 32, as $work/knn was trained on" \
    eval --gate "$work/knn" --embeddings "$work/e16.npy" --outcomes "$work/o.csv"
sed 's/,bob/,eve/' "$work/o.csv" >"$work/eve.csv"
fails "an expert that the gate has not met" 1 "$work/knn: the gate knows no expert eve, which $work/eve.csv has" \
    eval --gate "$work/knn" --embeddings "$work/e.npy" --outcomes "$work/eve.csv"
head -31 "$work/o.csv" >"$work/half.csv"
fails "fewer outcomes than vectors" 1 "$work/e.npy: has 60 rows, wanted 30, one for each of $work/half.csv" \
    train --embeddings "$work/e.npy" --outcomes "$work/half.csv" --out "$work/x"
cut -d, -f1-4 "$work/o.csv" | sed 's/$/,/; 1s/,$/,bob/' >"$work/norun.csv"
fails "an expert that was never run" 1 "expert bob has no outcome in any of the 60 rows, wanted at least one" \
    train --embeddings "$work/e.npy" --outcomes "$work/norun.csv" --out "$work/x"
fails "an unknown kind" 2 '--kind is "oracle", wanted sigmoid, softmax, knn, kmeans, category or ensemble' train "${in[@]}" --kind oracle --out "$work/x"
fails "folds" 2 "--folds is 1, wanted 2 to 50" train "${in[@]}" --folds 1 --out "$work/x"
fails "a misspelt expert" 2 "--experts: $work/o.csv has no \"bod\", did you mean \"bob\"?" train "${in[@]}" --experts ada,bod --out "$work/x"
fails "an expert twice" 2 "--experts names \"ada\" twice, wanted once" train "${in[@]}" --experts ada,bob,ada --out "$work/x"
fails "a comma behind the last expert" 2 "--experts has an empty name, wanted names with commas between" train "${in[@]}" --experts ada, --out "$work/x"
fails "no gate" 1 "$work/q/gating.safetensors: can't be opened: No such file or directory" eval --gate "$work/q/gating.safetensors" "${in[@]}"
fails "nothing to do" 2 "without --outcomes only --scores can be written" eval --gate "$work/knn" --embeddings "$work/e.npy"
cut -d, -f1,3- "$work/o.csv" >"$work/plain.csv"
fails "category without categories" 2 '--kind category needs a column "category" in the outcomes' \
    train --embeddings "$work/e.npy" --outcomes "$work/plain.csv" --kind category --out "$work/x"
same "the ensemble does without categories" "0 0" \
    "$("$moe2" gate train --embeddings "$work/e.npy" --outcomes "$work/plain.csv" --kind ensemble --hidden 16 --out "$work/p" 2>/dev/null >"$work/out"; echo $? "$(grep -c category "$work/out")")"
for f in e.npy o.csv; do
    : >"$work/empty"
    [ $f = e.npy ] && words=(--embeddings "$work/empty" --outcomes "$work/o.csv") || words=(--embeddings "$work/e.npy" --outcomes "$work/empty")
    "$moe2" gate train "${words[@]}" --out "$work/x" >/dev/null 2>&1
    same "an empty $f fails" 1 "$?"
done
head -c 3000 "$work/knn/gating.safetensors" >"$work/cut.safetensors"
"$moe2" gate eval --gate "$work/cut.safetensors" "${in[@]}" >/dev/null 2>&1
same "a gate that is cut off fails" 1 "$?"
same "what fails leaves no folder" "" "$(ls "$work/x" 2>/dev/null)"
finish "gate: all checks passed"
