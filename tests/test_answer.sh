#!/usr/bin/env bash
# moe2 answer from outside: files that forward, gate train and split-outcomes read; runs that are cut or stopped go on to the same bytes;
# what is asked again and what is not; words and files that are off.
#   test_answer.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
model=$(cd "$(dirname "$0")" && pwd)/fixtures/choice
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

# fails NAME STATUS MESSAGE WORDS…: moe2 answer WORDS ends so, with that one line on stderr, and leaves no tables.
fails() {
    refused "$1" "$2" "moe2 answer: $3" "$moe2" answer "${@:4}" --out bad
    passes "$1 (no tables)" test ! -e bad/outcomes.csv
}

same_tables() { for f in outcomes predictions lengths; do cmp "$1/$f.csv" "$2/$f.csv" || return 1; done; }

"$moe2" data synth --out data --train 20 --gating-train 80 --gating-test 16 --few-shot 80 >/dev/null || exit 1
q=data/gating_train.jsonl
mkdir second
for f in config.json model.safetensors tokenizer.json; do cp "$model/$f" second/; done

passes "two models answer" "$moe2" answer --models one="$model",second/ --questions $q --out r --json
passes "a header names them" grep -qx "question_id,category,answer,prompt_tokens,one,second" r/outcomes.csv
passes "a row a question" test "$(wc -l <r/outcomes.csv)" = 81
passes "rows stand in the questions' order" test "$(sed 's/{"id":"\([^"]*\)".*/\1/' $q)" = "$(tail -n +2 r/outcomes.csv | cut -d, -f1)"
passes "cells are 1 and 0" test "$(tail -n +2 r/outcomes.csv | cut -d, -f5 | sort -u | tr -d '\n')" = 01
passes "predictions are letters" test -z "$(tail -n +2 r/predictions.csv | cut -d, -f2,3 | grep -v '^[A-D],[A-D]$')"
passes "lengths are tokens" test -z "$(tail -n +2 r/lengths.csv | cut -d, -f2,3 | grep -vE '^[1-9],[1-9]$')"
passes "equal models answer alike" test -z "$(tail -n +2 r/predictions.csv | awk -F, '$2 != $3')"
passes "the report has each family" test "$(grep -c '"questions": 10' r/answers.json)" = 16
passes "forward reads them" "$moe2" forward --outcomes r/outcomes.csv --predictions r/predictions.csv --combine vote --k 2 --out f
passes "split-outcomes reads them" "$moe2" data split-outcomes --questions $q --in r/lengths.csv --out l.csv
passes "vectors are made" "$moe2" embed --features hashed --fit $q --in $q --dim 64 --out e.npy
passes "gate train reads them" "$moe2" gate train --embeddings e.npy --outcomes r/outcomes.csv --out gate --kind category

# ---- a selection on three that differ, with votes by answer ----
for seed in 2 3; do
    "$moe2" init --config "$model/config.json" --out by-chance-$seed --seed $seed >/dev/null 2>&1
    cp "$model/tokenizer.json" by-chance-$seed/
done
passes "three models answer" "$moe2" answer --models "one=$model,by-chance-2,by-chance-3" --questions $q --out three --answer text
passes "a gate over them" "$moe2" gate train --embeddings e.npy --outcomes three/outcomes.csv --out gate3 --kind category --folds 4
printf '{"one": {"device": "d", "unit": "s", "source": "estimated", "points": [], "fit": {"t0": 0, "prefill": 0.001, "decode": 0.01}},
"by-chance-2": {"device": "d", "unit": "s", "source": "estimated", "points": [], "fit": {"t0": 2, "prefill": 0.001, "decode": 0.01}},
"by-chance-3": {"device": "d", "unit": "s", "source": "estimated", "points": [], "fit": {"t0": 4, "prefill": 0.001, "decode": 0.01}}}\n' >latency.json
select_them() { # FILE WORDS…: on what moe2 answer wrote; how many a vote of all three has right
    local file=$1
    shift
    "$moe2" select --outcomes three/outcomes.csv --gate-scores gate3/oof_scores.npy --latency latency.json --output-tokens three/lengths.csv --latency-s 3,9 \
        --k 3 --combine vote --json "$@" >"$file" || return 1
    sed -n '/"all": {/,/}/s/.*"correct": \([0-9]*\).*/\1/p' "$file" | tail -1
}
by_answer=$(select_them by_answer.json --predictions three/predictions.csv)
by_outcome=$(select_them by_outcome.json)
passes "select reads them" grep -q '"combine": "vote"' by_answer.json
passes "limits that bind leave fewer" test "$(grep -o '"feasible_subsets": [0-9]*' by_answer.json | tr -dc '0-9\n' | tr '\n' ' ')" = "3 7 "
"$moe2" forward --outcomes three/outcomes.csv --predictions three/predictions.csv --gate-scores gate3/oof_scores.npy --combine vote --k 3 --json >f3.json
passes "votes by answer are those of forward" grep -q "\"correct\":$by_answer," f3.json
majority=$(tail -n +2 three/outcomes.csv | awk -F, '$5 + $6 + $7 >= 2' | wc -l)
passes "without predictions wrong answers agree" test "$by_outcome" = "$majority"
split=$(paste -d, three/outcomes.csv three/predictions.csv | tail -n +2 | awk -F, '$5 + $6 + $7 == 1 && $9 != $10 && $10 != $11 && $9 != $11' | wc -l)
passes "they do not all say the same" test -n "$(tail -n +2 three/predictions.csv | awk -F, '$2 != $3 || $3 != $4')"
passes "only votes of three that differ hang on what the wrong ones said" test "$by_answer" -ge "$by_outcome" -a "$by_answer" -le $((by_outcome + split))

# ---- again, cut, stopped ----
cp -r r again
rm again/*.csv
passes "finished models are not asked again" "$moe2" answer --models one="$model",second/ --questions $q --out again --device cpu:nonsense
passes "and give the same tables" same_tables r again
passes "another divisor needs no asking" "$moe2" answer --models one="$model",second/ --questions $q --out again --normalize chars --device cpu:nonsense
cp -r r cut
rm cut/*.csv
head -c "$(($(wc -c <r/answers/one.jsonl) / 2))" r/answers/one.jsonl >cut/answers/one.jsonl.part
rm cut/answers/one.jsonl
"$moe2" answer --models one="$model",second/ --questions $q --out cut >cut.out
passes "a cut file is taken up" grep -qE '^one +80 .* 32 +[0-9.]+$' cut.out
passes "to the same tables" same_tables r cut
passes "and the same scores" cmp r/answers/one.jsonl cut/answers/one.jsonl
passes "nothing is left of the part" test ! -e cut/answers/one.jsonl.part
printf 'garbage\n' >cut/answers/one.jsonl
passes "a broken file is made anew" "$moe2" answer --models one="$model",second/ --questions $q --out cut
passes "like the first" cmp r/answers/one.jsonl cut/answers/one.jsonl
passes "one thread" "$moe2" answer --models one="$model",second/ --questions $q --out slow --jobs 1 --threads 1 --batch-tokens 64
passes "gives the same answers" cmp r/predictions.csv slow/predictions.csv

"$moe2" data synth --out many --train 640 --gating-train 0 --gating-test 0 --few-shot 0 >/dev/null
"$moe2" answer --models one="$model" --questions many/combined_train.jsonl --answer text --out stop >/dev/null 2>stop.err &
pid=$!
for _ in $(seq 100); do
    [ "$(wc -l 2>/dev/null <stop/answers/one.jsonl.part)" ] && break
    sleep 0.1
done
kill -INT $pid
wait $pid
status=$?
if [ $status = 130 ]; then
    passes "a stopped run says how far it came" grep -qE '^moe2 answer: stopped behind [0-9]+ of 640 answers: the same command goes on from there$' stop.err
    passes "and leaves no tables" test ! -e stop/outcomes.csv
    passes "the next one goes on" "$moe2" answer --models one="$model" --questions many/combined_train.jsonl --answer text --out stop
    passes "one in one go" "$moe2" answer --models one="$model" --questions many/combined_train.jsonl --answer text --out straight
    passes "gives the same scores" cmp stop/answers/one.jsonl straight/answers/one.jsonl
    passes "and tables" same_tables stop straight
else
    echo "skipped: the run ended (status $status) before it could be stopped"
fi

# ---- forms ----
passes "examples stand before questions" "$moe2" answer --models one="$model" --questions data/gating_test.jsonl --few-shot 2 --dev data/few_shot.jsonl --out shots
longer() { [ "$(sed -n 2p shots/outcomes.csv | cut -d, -f4)" -gt "$(sed -n 2p plain/outcomes.csv | cut -d, -f4)" ]; }
passes "without them" "$moe2" answer --models one="$model" --questions data/gating_test.jsonl --out plain
passes "prompts are shorter" longer
passes "the first questions alone" "$moe2" answer --models one="$model" --questions data/gating_test.jsonl --limit 5 --bos --out five
passes "are five" test "$(wc -l <five/outcomes.csv)" = 6
passes "a BOS is one token more" test "$(sed -n 2p five/outcomes.csv | cut -d, -f4)" = "$(($(sed -n 2p plain/outcomes.csv | cut -d, -f4) + 1))"

# ---- what must fail ----
mkdir bad
echo $$ >bad/answer.pid
exec 9<bad/answer.pid
flock 9
fails "somebody is at it" 2 "bad is being worked on by process $$" --models "$model" --questions $q
exec 9<&-
fails "no model" 2 "--models is missing (see --help)" --questions $q
fails "an empty name" 2 "--models wants 1 to 64 folders with commas between" --models "$model," --questions $q
fails "two of one name" 2 'two experts are called "second"; NAME=DIR gives one another name' --models second,second/ --questions $q
fails "a column's name" 2 'an expert is called "answer", wanted 1 to 96 bytes without "/" that are no column of outcomes.csv' --models answer="$model" --questions $q
fails "an unknown form" 2 '--answer is "letters", the nearest is letter' --models "$model" --questions $q --answer letters
fails "an unknown divisor" 2 '--normalize is "char", the nearest is chars' --models "$model" --questions $q --normalize char
fails "examples without a file" 2 "examples are wanted (--few-shot) and no file has them (--dev)" --models "$model" --questions $q --few-shot 1
fails "too few examples" 2 'there are 10 examples of "'"$(head -1 $q | sed 's/.*"subject":"\([a-z]*\)".*/\1/')"'", wanted 11 (--few-shot)' --models "$model" --questions $q --few-shot 11 --dev data/few_shot.jsonl
fails "a negative number" 2 "--limit is -1, wanted 0 to 4194304" --models "$model" --questions $q --limit -1
fails "no file" 1 "nowhere.jsonl: can't be opened: No such file or directory" --models "$model" --questions nowhere.jsonl
fails "no folder" 1 "nowhere: is not there" --models nowhere --questions $q
echo '{"question": "q", "options": ["a"], "answer": "A"}' >foreign.jsonl
fails "no adapter" 1 "$("$moe2" answer --models "$model+nowhere" --questions $q --out bad2 2>&1 | tail -1 | sed 's/^moe2 answer: //')" --models "$model+nowhere" --questions $q
fails "another schema" 1 'foreign.jsonl:1: there is no "id", wanted a line as moe2 data qa writes it' --models "$model" --questions foreign.jsonl
cat $q $q >twice.jsonl
fails "an id twice" 1 "twice.jsonl:81: the id \"$(head -1 $q | sed 's/{"id":"\([^"]*\)".*/\1/')\" stands twice" --models "$model" --questions twice.jsonl
echo '{"id": "1", "source": "s", "subject": "s", "kind": "cloze", "question": "q", "choices": [], "answer": null, "answer_text": "x"}' >cloze.jsonl
fails "nothing to choose from" 1 "cloze.jsonl: has no question with one right option" --models "$model" --questions cloze.jsonl
fails "a window too long" 2 "$model: the window is 4096 tokens, wanted at most the model's max_position_embeddings, 512" --models "$model" --questions $q --window 4096
fails "a device that is none" 2 "$("$moe2" answer --models "$model" --questions $q --out bad2 --device gpu 2>&1 | sed 's/^moe2 answer: //')" --models "$model" --questions $q --device gpu
cut_model() { mkdir -p broken && cp "$model"/*.json broken/ && head -c 3000 "$model/model.safetensors" >broken/model.safetensors; }
cut_model
"$moe2" answer --models broken --questions $q --out bad >/dev/null 2>broken.err
passes "a cut model is an error" test $? = 1
passes "of one line that names its file" grep -q "model.safetensors" broken.err

finish
