#!/bin/bash
# What "moe2 tokenize" and "moe2 tokenizer train" print, refuse and leave behind. usage: test_text_cli.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
golden=$(cd "$(dirname "$0")/golden" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

qwen=$golden/tokenizer_qwen2.json
same "a line gives an array, an empty one too, the last without a newline too" \
    $'[67]\n[]\n[68]' "$(printf 'b\n\nc' | "$moe2" tokenize --tokenizer "$qwen")"
same "no line gives nothing" "" "$(printf '' | "$moe2" tokenize --tokenizer "$qwen")"
same "a JSON line may hold a newline" "[67, 200, 68]" "$(printf '"b\\nc"\n' | "$moe2" tokenize --tokenizer "$qwen" --json-lines)"
same "added tokens in the text are found" "[0]" "$(echo '<|bos|>' | "$moe2" tokenize --tokenizer "$qwen")"
same "--special applies the post-processor" "[0, 67]" "$(echo 'b' | "$moe2" tokenize --tokenizer "$golden/tokenizer_llama3.json" --special)"
same "bytes need no file" "[256, 98, 195, 168]" "$(echo 'bè' | "$moe2" tokenize --tokenizer bytes --special)"
same "--decode goes back" "$(head -3 "$golden/tokenizer_corpus.txt")" \
    "$(head -3 "$golden/tokenizer_corpus.txt" | "$moe2" tokenize --tokenizer "$qwen" | "$moe2" tokenize --tokenizer "$qwen" --decode)"
same "--decode --json-lines gives JSON strings" '"b\nc"' "$(echo '[67, 200, 68]' | "$moe2" tokenize --tokenizer "$qwen" --decode --json-lines)"

fails() { # NAME STATUS MESSAGE INPUT COMMAND…
    refused "${@:1:3}" "${@:5}" < <(printf "$4")
    same "$1: one line" "" "$(sed '$d' refused.err)"
}

fails "a line that is not UTF-8" 1 "moe2 tokenize: line 2: the text is not UTF-8: byte 1 is 0xff" 'ok\nb\377\n' \
    "$moe2" tokenize --tokenizer "$qwen"
fails "a line that is no string" 1 "moe2 tokenize: line 1: no JSON string" '{}\n' "$moe2" tokenize --tokenizer "$qwen" --json-lines
fails "an id without a token" 1 "moe2 tokenize: line 1: id 99999 has no token, wanted 0 to 545" '[99999]\n' \
    "$moe2" tokenize --tokenizer "$qwen" --decode
fails "an id that is no number" 1 "moe2 tokenize: line 1: element 0 of the array is no id" '[1.5]\n' "$moe2" tokenize --tokenizer "$qwen" --decode
fails "a folder without a tokenizer" 1 "moe2 tokenize: $work holds no tokenizer.json and no vocab.txt" "" "$moe2" tokenize --tokenizer "$work"
fails "no --tokenizer" 2 "moe2 tokenize: --tokenizer is missing (see --help)" "" "$moe2" tokenize

"$moe2" tokenizer train --input "$golden/tokenizer_corpus.txt" --vocab-size 400 --out "$work/a" --pre-tokenizer qwen2 >/dev/null 2>&1
cat "$golden/tokenizer_corpus.txt" | "$moe2" tokenize --tokenizer "$work/a" | "$moe2" tokenize --tokenizer "$work/a" --decode |
    cmp -s - "$golden/tokenizer_corpus.txt"
same "what train writes gives the text back" 0 "$?"
"$moe2" tokenizer train --input "$golden/tokenizer_corpus.txt" "$golden/tokenizer_corpus.txt" --vocab-size 400 --out "$work/b" \
    --pre-tokenizer qwen2 --threads 1 --min-frequency 4 >/dev/null 2>&1
cmp -s "$work/a/tokenizer.json" "$work/b/tokenizer.json"
same "the text twice and twice the frequency give the same merges" 0 "$?"
fails "an input that is not there" 1 "moe2 tokenizer train: $work/none: No such file or directory" "" \
    "$moe2" tokenizer train --input "$work/none" --vocab-size 400 --out "$work/c"
fails "an unknown pre-tokenizer" 2 "moe2 tokenizer train: pre-tokenizer \"x\" is unknown, wanted one of: gpt2, qwen2, llama3, deepseek" "" \
    "$moe2" tokenizer train --input "$qwen" --vocab-size 400 --out "$work/c" --pre-tokenizer x
same "a refused training leaves no folder" "no" "$([ -e "$work/c" ] && echo yes || echo no)"
finish
