#!/usr/bin/env bash
# moe2 data synth from outside: the same bytes twice, longer sets that begin with the shorter, no question in two sets of any seeds,
# families that run out, and words that are off.
#   test_data_synth.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

# fails NAME STATUS MESSAGE WORDS…: moe2 data synth WORDS ends so, with that one line on stderr.
fails() {
    refused "$1" "$2" "moe2 data synth: $3" "$moe2" data synth "${@:4}"
    same "$1 (nothing left)" "" "$(ls out 2>/dev/null)"
}

lines() { wc -l <"$1"; }
questions() { cat "$@" | sed 's/.*"question":"\([^"]*\)".*/\1/' | sort; }
files="combined_train.jsonl gating_train.jsonl gating_test.jsonl few_shot.jsonl"

passes "questions are made" "$moe2" data synth --out a --train 2000 --gating-train 400 --gating-test 200 --few-shot 40
passes "the table names every family" test "$("$moe2" data synth --out again --train 2000 --gating-train 400 --gating-test 200 --few-shot 40 | grep -cE '^(arithmetic|sequences|sorting|dates|units|bases|strings|logic) +250 +50 +25 +5$')" = 8
for f in $files synth.json; do passes "the same seed gives the same $f" cmp a/$f again/$f; done
passes "train has its rows" test "$(lines a/combined_train.jsonl)" = 2000
passes "test has its rows" test "$(lines a/gating_test.jsonl)" = 200
passes "a line is of the one schema" grep -qE '^\{"id":"dates-[0-9a-f]{16}","source":"synth","subject":"dates","kind":"choice","question":"[^"]+","choices":\["[^"]+","[^"]+","[^"]+","[^"]+"\],"answer":[0-3]\}$' a/gating_test.jsonl
passes "another seed is made" "$moe2" data synth --out b --seed 2 --train 3000 --gating-train 400 --gating-test 200 --few-shot 40 --json
passes "and is another" test "$(head -1 a/gating_test.jsonl)" != "$(head -1 b/gating_test.jsonl)"
passes "a longer set begins with the shorter" "$moe2" data synth --out c --train 500 --gating-train 0 --gating-test 0 --few-shot 0
passes "row by row" cmp <(head -500 a/combined_train.jsonl) c/combined_train.jsonl
for f in $files; do
    passes "no question stands twice in $f" test -z "$(questions a/$f | uniq -d)"
    for g in $files; do
        [ "$f" = "$g" ] && continue
        passes "$f of one seed and $g of another are apart" test -z "$(comm -12 <(questions a/$f) <(questions b/$g))"
    done
done
passes "families are chosen" "$moe2" data synth --out d --families dates,logic --train 100 --gating-train 10 --gating-test 10 --few-shot 0
passes "half of each" test "$(grep -c '"subject":"logic"' d/combined_train.jsonl)" = 50
passes "and no other" test "$(grep -cvE '"subject":"(logic|dates)"' d/combined_train.jsonl)" = 0
passes "the same in Italian" "$moe2" data synth --language it --out it --train 500 --gating-train 40 --gating-test 20 --few-shot 0
passes "has the same ids" cmp <(head -500 a/combined_train.jsonl | cut -d'"' -f4) <(cut -d'"' -f4 it/combined_train.jsonl)
passes "in other words" test -z "$(comm -12 <(questions a/combined_train.jsonl | grep -v '^$') <(questions it/combined_train.jsonl))"
passes "they are read as questions to embed" "$moe2" embed --features hashed --fit a/gating_train.jsonl --in a/gating_train.jsonl --out e.npy

fails "no folder" 2 "--out is missing (see --help)"
fails "an unknown family" 2 '--families: moe2 has no "date", did you mean "dates"?' --families date --out out
fails "no family" 2 "--families has an empty name, wanted names with commas between" --families "" --out out
fails "another language" 2 '--language is "fr", wanted en or it' --language fr --out out
fails "a negative size" 2 "combined_train.jsonl would have -5 rows, wanted 0 to 67108864" --train -5 --out out
: >file
"$moe2" data synth --out file/x >/dev/null 2>fails.err
passes "a folder that can't be made" test $? = 1
passes "is one sentence" test "$(wc -l <fails.err)" = 1

finish
