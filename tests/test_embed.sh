#!/usr/bin/env bash
# What "moe2 embed" writes, refuses and leaves behind; a killed run goes on.   test_embed.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

seq 1 40 | sed 's/.*/{"text": "riga & di prova, numero & su molte"}/;=' | awk 'NR % 2 { n = $0; next } { gsub(/&/, n); print }' >a.jsonl
"$moe2" embed --features hashed --fit a.jsonl --in a.jsonl --out a.npy --dim 64 --threads 1 >said 2>&1 || fault "embed: $(cat said)"
same "the size is a header and 40 rows of 64 numbers" $((128 + 40 * 64 * 4)) "$(stat -c %s a.npy)"
same "what it says" "a.npy: 40 rows of 64 numbers, hashed features, 64 dimensions, idf of 40 texts" "$(head -1 said)"
same "nothing else is left" "a.hashed.safetensors a.jsonl a.npy said" "$(ls | tr '\n' ' ' | sed 's/ $//')"

"$moe2" embed --features hashed --state a.hashed.safetensors --in a.jsonl --out b.npy --threads 2 >said 2>&1 || fault "state: $(cat said)"
cmp a.npy b.npy || fault "features read from a file, and another number of threads, give other bytes"
"$moe2" embed --features hashed --fit a.jsonl --in a.jsonl --out c.npy --dim 64 --seed 2 >said 2>&1 || fault "seed: $(cat said)"
cmp -s a.npy c.npy && fault "another seed gives the same bytes"

# A question is its text and its options, one a line.
printf '%s\n' '{"question": "Chi?", "choices": ["io", "tu"], "answer": 0}' '{"question": "Chi?", "options": ["io", "tu"]}' >q.jsonl
printf '%s\n' '{"text": "Chi?\nio\ntu"}' '{"text": "Chi?\nio\ntu"}' >t.jsonl
for f in q t; do "$moe2" embed --features hashed --state a.hashed.safetensors --in $f.jsonl --out $f.npy >said 2>&1 || fault "$f: $(cat said)"; done
cmp q.npy t.npy || fault "a question is not its text and options"

# A run that was killed goes on from there.
awk 'BEGIN { for (i = 0; i < 5000; i++) print "{\"text\": \"il testo " i " di una lunga fila, con parole " i % 7 "\"}" }' >long.jsonl
state="--features hashed --state a.hashed.safetensors"
"$moe2" embed $state --in long.jsonl --out straight.npy >said 2>&1 || fault "long: $(cat said)"
"$moe2" embed $state --in long.jsonl --out killed.npy --threads 1 >/dev/null 2>&1 &
victim=$!
for _ in $(seq 200); do [ -s killed.npy.part ] && break; sleep 0.01; done
kill -9 $victim 2>/dev/null
wait $victim 2>/dev/null
"$moe2" embed $state --in long.jsonl --out killed.npy >said 2>&1 || fault "after a kill: $(cat said)"
cmp straight.npy killed.npy || fault "a killed run and its sequel give other bytes than a straight one"
[ -e killed.npy.part ] || [ -e killed.npy.part.json ] && fault "the sequel leaves its notes behind"

# Two at once: the second is told, and the first one's part stays as it is.
echo "the first one's" >two.npy.part
exec 9<two.npy.part
flock 9
refused_alone "two at once" 2 "moe2 embed: two.npy.part: is being written by another process" "$moe2" embed $state --in a.jsonl --out two.npy
same "two at once: the part" "the first one's" "$(cat two.npy.part)"
exec 9<&-
"$moe2" embed $state --in a.jsonl --out two.npy >said 2>&1 || fault "one after the other: $(cat said)"
cmp a.npy two.npy || fault "a part of something else changes the bytes"

fails() { # NAME STATUS MESSAGE WORDS…: moe2 embed WORDS
    refused_alone "$1" "$2" "moe2 embed: $3" "$moe2" embed "${@:4}"
}
echo '{"title": "x"}' >none.jsonl
: >empty.jsonl
printf '{"question": "Chi?", "choices": [1]}\n' >number.jsonl
fails "a row without text" 1 "none.jsonl: line 1 has neither a text nor a question" $state --in none.jsonl --out x.npy
fails "options that are no text" 1 "number.jsonl: line 1: choices 0 is no text" $state --in number.jsonl --out x.npy
fails "nothing to fit on" 1 "empty.jsonl: has no rows to fit on" --features hashed --fit empty.jsonl --in a.jsonl --out x.npy
fails "no such features" 2 '--features is "lsa", wanted hashed' --features lsa --in a.jsonl --out x.npy
fails "too few dimensions" 2 "hashed features of 3 dimensions, wanted 16 to 65536" --features hashed --fit a.jsonl --dim 3 --in a.jsonl --out x.npy
fails "too many threads" 2 "--threads is 999, wanted 0 (all cores) to 256" $state --in a.jsonl --out x.npy --threads 999
fails "a file that is no features" 1 "a.npy: the header says it has 379676406402707 bytes, wanted at most 100000000" --features hashed --state a.npy --in a.jsonl --out x.npy
ls x.npy* >/dev/null 2>&1 && fault "a refused run leaves $(ls x.npy*)"
"$moe2" embed $state --in empty.jsonl --out empty.npy >said 2>&1 || fault "an empty file: $(cat said)"
same "an empty file gives an array without rows" 128 "$(stat -c %s empty.npy)"

# ---- an encoder: the small random ones of the tests, with a tokenizer of bytes and merges ----
mkdir enc
cp "$here"/fixtures/encoder_xlmr/{config.json,model.safetensors} enc
fails "an encoder without a tokenizer" 1 "enc holds no tokenizer.json and no vocab.txt" --model enc --in a.jsonl --out x.npy
cp "$here/golden/tokenizer_qwen2.json" enc/tokenizer.json
"$moe2" embed --model enc --in a.jsonl --out e.npy --threads 1 >said 2>&1 || fault "encoder: $(cat said)"
same "what it says of an encoder" "e.npy: 40 rows of 30 numbers, xlm-roberta of 2 layers, mean of the tokens, texts cut at 40 tokens, float32" "$(head -1 said)"
same "the size is a header and 40 rows of 30 numbers" $((128 + 40 * 30 * 4)) "$(stat -c %s e.npy)"
"$moe2" embed --model enc --in a.jsonl --out e2.npy --threads 2 --batch-tokens 64 >said 2>&1 || fault "encoder: $(cat said)"
cmp e.npy e2.npy || fault "other batches and threads give other bytes"
"$moe2" embed --model enc --in a.jsonl --out e3.npy --compute bf16 >said 2>&1 || fault "bf16: $(cat said)"
awk 'BEGIN { printf "{\"text\": \""; for (i = 0; i < 200; i++) printf "parola lunga "; print "\"}"; print "{\"text\": \"\"}" }' >cut.jsonl
"$moe2" embed --model enc --in cut.jsonl --out cut.npy >said 2>&1 || fault "a long text: $(cat said)"
grep -q '^1 texts were longer than the encoder takes and lost [0-9]* of their tokens$' said || fault "a long text is not told: $(cat said)"
"$moe2" embed --model enc --in long.jsonl --out killed2.npy --threads 1 >/dev/null 2>&1 &
victim=$!
for _ in $(seq 300); do [ "$(stat -c %s killed2.npy.part 2>/dev/null || echo 0)" -gt 20000 ] && break; sleep 0.01; done
kill -9 $victim 2>/dev/null
wait $victim 2>/dev/null
"$moe2" embed --model enc --in long.jsonl --out killed2.npy >said 2>&1 || fault "after a kill: $(cat said)"
"$moe2" embed --model enc --in long.jsonl --out straight2.npy >said 2>&1 || fault "straight: $(cat said)"
cmp straight2.npy killed2.npy || fault "a killed encoder run and its sequel give other bytes than a straight one"
"$moe2" embed --model enc --in a.jsonl --out e.npy --json 2>/dev/null | python3 -m json.tool >/dev/null || fault "--json is no JSON"
fails "an encoder and a fit" 2 "nothing is fitted for an encoder, wanted no --fit" --model enc --fit a.jsonl --in a.jsonl --out x.npy
fails "an encoder and features" 2 "wanted either --model DIR or --features hashed" --model enc --features hashed --in a.jsonl --out x.npy
fails "neither" 2 "wanted either --model DIR or --features hashed" --in a.jsonl --out x.npy
fails "no such type" 2 '--compute is "f64", wanted f32 or bf16' --model enc --compute f64 --in a.jsonl --out x.npy
fails "no such folder" 1 "nowhere: is no folder of an encoder" --model nowhere --in a.jsonl --out x.npy
head -c 5000 "$here/fixtures/encoder_xlmr/model.safetensors" >enc/model.safetensors
"$moe2" embed --model enc --in a.jsonl --out x.npy >said 2>&1
same "a cut checkpoint: status" 1 "$?"

finish "moe2 embed writes, resumes and refuses as promised"
