#!/usr/bin/env bash
# moe2 eval-tasks from outside: XCOPA by log-likelihood, SQuAD's measures, and what is refused. Questions are our own; the real sets are read
# where they lie.
#   test_eval_tasks.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
root=$(cd "$(dirname "$0")/.." && pwd)
model=$root/tests/fixtures/choice
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

# fails NAME STATUS MESSAGE WORDS…: moe2 eval-tasks WORDS ends so, with that one line on stderr.
fails() {
    refused "$1" "$2" "moe2 eval-tasks: $3" "$moe2" eval-tasks "${@:4}"
}

number() { sed -n "s/.*\"$2\": \([0-9.]*\),*$/\1/p" "$1" | sed -n "${3:-1}p"; }

cat >set.json <<'END'
{"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": [
 {"id": "1", "question": "?", "answers": [{"text": "L'acqua", "answer_start": 0}, {"text": "acqua fresca", "answer_start": 0}]},
 {"id": "2", "question": "?", "answers": [{"text": "The big city", "answer_start": 0}]},
 {"id": "3", "question": "?", "answers": [{"text": "nord", "answer_start": 0}]},
 {"id": "4", "question": "?", "answers": [{"text": "sud", "answer_start": 0}]}]}]}]}
END
echo '{"1": "acqua", "2": "a big city!", "4": "est", "9": "nobody asked"}' >answers.json
passes "answers are scored" "$moe2" eval-tasks --squad set.json --predictions answers.json --json
cp check.out squad.out
passes "four questions" test "$(number squad.out questions)" = 4
passes "one without an answer" test "$(number squad.out unanswered)" = 1
passes "one answer to nothing" test "$(number squad.out unknown)" = 1
passes "official: one of four exact" test "$(number squad.out exact_match 1)" = 25
passes "italian: another one exact" test "$(number squad.out exact_match 2)" = 25
passes "official F1: 2/3 of the first" test "$(number squad.out f1 1 | cut -c1-7)" = 41.6666
passes "the table says what is missing" bash -c "'$moe2' eval-tasks --squad set.json --predictions answers.json | grep -qx '1 questions have no answer and count 0'"
gzip -k set.json
passes "a packed set" "$moe2" eval-tasks --squad set.json.gz --predictions answers.json

cat >x.jsonl <<'END'
{"premise": "Ha piovuto tutto il giorno.", "choice1": "La strada è bagnata.", "choice2": "È notte.", "question": "effect", "label": 0, "idx": 0}
{"premise": "La strada è bagnata.", "choice1": "Nevica.", "choice2": "Ha piovuto.", "question": "cause", "label": 1, "idx": 1}
END
passes "XCOPA is asked" "$moe2" eval-tasks --model "$model" --xcopa x.jsonl --json
cp check.out x.out
passes "two rows" test "$(number x.out rows)" = 2
passes "limited to one" bash -c "'$moe2' eval-tasks --model '$model' --xcopa x.jsonl --limit 1 | grep -qE '^xcopa_it +1 +acc '"
passes "both tasks at once" bash -c "'$moe2' eval-tasks --model '$model' --xcopa x.jsonl --squad set.json --predictions answers.json | grep -c _it | grep -qx 6"

fails "no task" 2 "there is no task, wanted --xcopa or --squad"
fails "no model" 2 "--model is missing: XCOPA is asked of a model" --xcopa x.jsonl
fails "no answers" 2 "--predictions is missing: the answers to SQuAD" --squad set.json
fails "a negative number" 2 "--limit and --threads want 0 or more" --xcopa x.jsonl --model "$model" --limit -1
sed 's/effect/because/' x.jsonl >bad.jsonl
fails "neither cause nor effect" 1 'bad.jsonl:1: question is "because", wanted cause or effect' --model "$model" --xcopa bad.jsonl
sed 's/"label": 1/"label": 2/' x.jsonl >bad.jsonl
fails "a label beyond" 1 'bad.jsonl:2: label is "2", wanted 0 or 1' --model "$model" --xcopa bad.jsonl
: >empty.jsonl
fails "no rows" 1 "empty.jsonl: has no rows" --model "$model" --xcopa empty.jsonl
echo '[]' >list.json
fails "answers that are no object" 1 "list.json: is no JSON object, wanted {id: answer}" --squad set.json --predictions list.json
echo '{"data": []}' >none.json
fails "a set without questions" 1 "none.json: has no questions" --squad none.json --predictions answers.json
echo '{"1": 5}' >five.json
fails "an answer that is no text" 1 'the answer to "1" is no text' --squad set.json --predictions five.json
head -c 200 set.json >cut.json
"$moe2" eval-tasks --squad cut.json --predictions answers.json 2>cut.err >/dev/null
passes "a cut set is named" grep -q "^moe2 eval-tasks: cut.json" cut.err

# ---- the real sets, where they lie ----
data=${MOE2_DATA:-$root/../shared/data}
if [ -e "$data/squad_it/SQuAD_it-test.json.gz" ] && [ -e "$data/xcopa_it/val.it.jsonl" ]; then
    echo '{}' >nothing.json
    "$moe2" eval-tasks --squad "$data/squad_it/SQuAD_it-test.json.gz" --predictions nothing.json --json >real.out
    passes "SQuAD-it has 7,609 questions" test "$(number real.out questions)" = 7609
    passes "XCOPA-it is read" "$moe2" eval-tasks --model "$model" --xcopa "$data/xcopa_it/val.it.jsonl" --json
    cp check.out xcopa.out
    passes "with its 100 rows" grep -q '"rows": 100' xcopa.out
else
    echo "skipped: the real sets are not at $data"
fi

finish
