#!/usr/bin/env bash
# moe2 data qa and data split-outcomes from outside: what is read, kept, left out and why; the split; the same bytes twice; broken
# input gives one sentence and leaves nothing behind. All questions are our own; the real sets are read where they lie.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source_dir=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

# fails NAME STATUS MESSAGE WORDS…: moe2 data qa WORDS --out out ends so, with that one line on stderr.
fails() {
    refused "$1" "$2" "moe2 data qa: $3" "$moe2" data qa "${@:4}" --out out
    same "$1 (nothing left)" "" "$(ls out 2>/dev/null)"
}

number() { sed -n "s/.*\"$2\": \([0-9.]*\),*$/\1/p" "$1" | head -1; }
lines() { wc -l <"$1"; }

# ---- sets of our own: 50 questions of MMLU's form in two subjects, the same as the hub's rows, and a corpus ----
mkdir -p mmlu/test mmlu/dev agieval
for subject in birds rivers; do
    for i in $(seq 1 25); do
        echo "\"How many $subject, in all, are there in picture number $i?\",$i,none,\"a, few\",many,A" >>mmlu/test/${subject}_test.csv
        echo "{\"question\": \"How many $subject, in all, are there in picture number $i?\", \"subject\": \"$subject\", \"choices\": [\"$i\", \"none\", \"a, few\", \"many\"], \"answer\": 0}" >>hub.jsonl
    done
    echo "Which $subject are blue?,some,all,none,one,B" >mmlu/dev/${subject}_dev.csv
done
{
    echo '{"question_id": 1, "question": "How many BIRDS in all are there in picture number 3", "options": ["x", "y"], "answer": "B", "category": "nature", "src": "ori_mmlu-birds"}'
    echo '{"question_id": 2, "question": "How many birds are singing now?", "options": ["x", "y"], "answer": "A", "category": "nature", "src": "ours"}'
    echo '{"question_id": 3, "question": "A third one", "options": ["x", "y", "z"], "answer": "C", "category": "nature", "src": "ours"}'
} >pro.jsonl
printf '{"id": "a1", "question": {"stem": "Why is it %s?", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]}, "answerKey": "B"}\n' warm cold >arc.jsonl
echo '[{"question": "What melts?", "distractor1": "a", "distractor2": "b", "distractor3": "c", "correct_answer": "ice", "support": ""}]' >sciq.json
sed -i '2s/a1/a2/' arc.jsonl
{
    echo '{"passage": "p", "question": "One?", "options": ["(A)x", "(B)y"], "label": "A", "answer": null}'
    echo '{"passage": null, "question": "Two?", "options": ["(A)x", "(B)y"], "label": ["A", "B"], "answer": null}'
    echo '{"passage": null, "question": "1 + 1 =", "options": null, "label": null, "answer": "2"}'
} >agieval/own.jsonl
all="--mmlu mmlu --mmlu-pro pro.jsonl --arc arc.jsonl --sciq sciq.json --agieval agieval"

# shellcheck disable=SC2086
"$moe2" data qa $all --out data --json >data.out
passes "train has four fifths" test "$(lines data/gating_train.jsonl)" = 40
passes "test has one fifth" test "$(lines data/gating_test.jsonl)" = 10
passes "each subject has its fifth in test" test "$(grep -c '"subject":"birds"' data/gating_test.jsonl)" = 5
passes "dev questions are few-shot examples" test "$(lines data/few_shot.jsonl)" = 2
passes "the corpus has what does not stand in the gating set" test "$(lines data/combined_train.jsonl)" = 8
passes "the question that stands there is gone" test "$(grep -c '"id":"1"' data/combined_train.jsonl)" = 0
passes "the others stay" grep -q '"id":"2","source":"mmlu_pro","subject":"nature","kind":"choice"' data/combined_train.jsonl
passes "the row without options is kept, marked" grep -q '"kind":"cloze","question":"1 + 1 =","choices":\[\],"answer":null,"answer_text":"2"' data/combined_train.jsonl
passes "the row with two right options is kept, marked" grep -q '"kind":"several".*"answers":\[0,1\]' data/combined_train.jsonl
passes "a passage is context" grep -q '"context":"p"' data/combined_train.jsonl
passes "the overlap is counted" test "$(number data/combined_train.json words)" = 1
passes "the manifest has the same counts" test "$(number data/combined_train.json gating_rows)" = 50
# shellcheck disable=SC2086
passes "the table is printed" "$moe2" data qa $all --out again
for f in gating_train.jsonl gating_test.jsonl few_shot.jsonl combined_train.jsonl gating_set.json combined_train.json; do
    passes "the same seed gives the same $f" cmp data/$f again/$f
done
passes "the hub's rows are read" "$moe2" data qa --mmlu hub.jsonl --out hub
passes "the hub's rows give the same train" cmp data/gating_train.jsonl hub/gating_train.jsonl
passes "the hub's rows give the same test" cmp data/gating_test.jsonl hub/gating_test.jsonl
passes "without a corpus there is none" test ! -e hub/combined_train.jsonl
passes "another seed is taken" "$moe2" data qa --mmlu mmlu --out seed2 --seed 2
passes "another seed gives another split" test "$(cat seed2/gating_test.jsonl)" != "$(cat data/gating_test.jsonl)"

# shellcheck disable=SC2086
"$moe2" data qa $all --out overlap --allow-overlap >overlap.out
passes "overlap may be kept" test "$(lines overlap/combined_train.jsonl)" = 9
passes "and is said in the table" grep -q "1 rows stand in the gating set: KEPT" overlap.out
passes "and in the manifest" grep -q '"label": "trained on questions of the gating set (allow_overlap): not a clean test"' overlap/combined_train.json

# ---- MMLU-Pro as the gating set, recorded answers beside it ----
for i in $(seq 1 20); do
    echo "{\"question_id\": $i, \"question\": \"Question number $i\", \"options\": [\"a$i\", \"b$i\"], \"answer\": \"A\", \"category\": \"c\", \"src\": \"ours\"}"
done >pro20.jsonl
{
    echo "question_id,category,answer,m1,m2"
    for i in $(seq 20 -1 1); do echo "$i,c,A,1,0"; done
} >outcomes.csv
passes "MMLU-Pro can be the gating set" "$moe2" data qa --mmlu-pro pro20.jsonl --gating mmlu_pro --arc arc.jsonl --out pro
passes "then it is not in the corpus" test "$(lines pro/combined_train.jsonl)" = 2
for side in train test; do
    passes "answers of $side are cut" "$moe2" data split-outcomes --questions pro/gating_$side.jsonl --in outcomes.csv --out pro/o_$side.csv --experts m2
    passes "answers of $side line up" test "$(sed 's/{"id":"\([0-9]*\)".*/\1/' pro/gating_$side.jsonl)" = "$(tail -n +2 pro/o_$side.csv | cut -d, -f1)"
done
passes "only that expert stays" grep -qx "question_id,category,answer,m2" pro/o_test.csv

# ---- what must fail ----
fails "nothing given" 2 "--mmlu is missing: it is the gating set (--gating)"
fails "no gating set, no corpus" 2 "there is nothing to read, wanted --arc or another set" --gating none
fails "a flag without a value" 2 "--arc has no value" --arc --mmlu mmlu
fails "an unknown set" 2 '--gating is "arc", wanted mmlu, mmlu_pro or none' --gating arc --arc arc.jsonl
fails "a file that is not there" 1 "nowhere.csv: is not there" --mmlu nowhere.csv
fails "a share out of range" 2 "the share of test rows is 1.5, wanted between 0 and 1" --mmlu mmlu --test-share 1.5
mkdir empty
fails "an empty folder" 1 "empty: has no file of questions, wanted .jsonl, .json or .csv (also .gz, .zst)" --mmlu empty
: >empty.jsonl
fails "an empty file" 1 "the gating set (mmlu) has no row with one right option" --mmlu empty.jsonl
echo 'q,a,b,c,d,A,extra' >wide_test.csv
fails "a row of another width" 1 "wide_test.csv:1: the row has 7 fields, wanted 6" --mmlu wide_test.csv
cp pro.jsonl some.parquet
fails "parquet" 1 "some.parquet: parquet can't be read yet, wanted JSON lines, JSON or CSV" --mmlu-pro some.parquet
cat pro.jsonl pro.jsonl >twice.jsonl
fails "an id twice" 1 'the id "1" stands twice in the gating set' --mmlu-pro twice.jsonl
{ head -1 pro.jsonl; echo '{"question_id": 9, "question": "q", "options": ["a"], "answer": "C"}'; tail -1 pro.jsonl; } >bad.jsonl
fails "a broken row" 1 "bad.jsonl:2: the answer is option 2 of 1, counted from 0" --mmlu-pro bad.jsonl
passes "broken rows are passed over when asked" "$moe2" data qa --mmlu-pro bad.jsonl --skip-broken --out skip
passes "and counted" test "$(number skip/gating_set.json broken)" = 1
head -c 100 pro.jsonl >cut.jsonl
"$moe2" data qa --mmlu-pro cut.jsonl --out out 2>cut.err
passes "a cut file is named" grep -q "^moe2 data qa: cut.jsonl:1: " cut.err
"$moe2" data split-outcomes --questions data/gating_test.jsonl --in outcomes.csv --out o.csv 2>o.err
passes "answers that are missing are an error" grep -q "10 of the 10 questions of data/gating_test.jsonl have no row" o.err
passes "and leave nothing" test ! -e o.csv

# ---- the real sets, where they lie ----
data=${MOE2_DATA:-$source_dir/../shared/data}
if [ -e "$data/mmlu/test" ] && [ -e "$data/agieval" ]; then
    "$moe2" data qa --mmlu "$data/mmlu" --mmlu-pro "$data/mmlu_pro/questions.jsonl" --arc "$data/arc" --agieval "$data/agieval" --out real --json >real.out
    passes "MMLU has 14,042 test questions" test $(($(lines real/gating_train.jsonl) + $(lines real/gating_test.jsonl))) = 14042
    passes "6,810 of MMLU-Pro's questions are MMLU's" test "$(number real/combined_train.json all)" = 6810
    passes "5,222 of them stay" test "$(grep -c '"source":"mmlu_pro"' real/combined_train.jsonl)" = 5222
    passes "none of them names MMLU" test "$(grep -c '"src":"ori_mmlu' real/combined_train.jsonl)" = 0
    passes "AGIEval's cloze rows are counted" test "$(grep -o '"cloze": 1118' real.out)" = '"cloze": 1118'
    passes "its lists of letters are counted" test "$(grep -o '"several_as_list": 2035' real.out)" = '"several_as_list": 2035'
else
    echo "skipped: the real sets are not at $data"
fi

finish
