#!/bin/bash
# What "moe2 tokenize" and "moe2 tokenizer train" print, refuse and leave behind. usage: test_text_cli.sh MOE2
set -u
moe2=$1
golden=$(cd "$(dirname "$0")/golden" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

check() { # what, wanted, seen
    if [ "$2" != "$3" ]; then
        printf 'FAILED: %s\n  wanted: %s\n  seen:   %s\n' "$1" "$2" "$3"
        failed=1
    fi
}

qwen=$golden/tokenizer_qwen2.json
check "a line gives an array, an empty one too, the last without a newline too" \
    $'[67]\n[]\n[68]' "$(printf 'b\n\nc' | "$moe2" tokenize --tokenizer "$qwen")"
check "no line gives nothing" "" "$(printf '' | "$moe2" tokenize --tokenizer "$qwen")"
check "a JSON line may hold a newline" "[67, 200, 68]" "$(printf '"b\\nc"\n' | "$moe2" tokenize --tokenizer "$qwen" --json-lines)"
check "added tokens in the text are found" "[0]" "$(echo '<|bos|>' | "$moe2" tokenize --tokenizer "$qwen")"
check "--special applies the post-processor" "[0, 67]" "$(echo 'b' | "$moe2" tokenize --tokenizer "$golden/tokenizer_llama3.json" --special)"
check "bytes need no file" "[256, 98, 195, 168]" "$(echo 'bè' | "$moe2" tokenize --tokenizer bytes --special)"
check "--decode goes back" "$(head -3 "$golden/tokenizer_corpus.txt")" \
    "$(head -3 "$golden/tokenizer_corpus.txt" | "$moe2" tokenize --tokenizer "$qwen" | "$moe2" tokenize --tokenizer "$qwen" --decode)"
check "--decode --json-lines gives JSON strings" '"b\nc"' "$(echo '[67, 200, 68]' | "$moe2" tokenize --tokenizer "$qwen" --decode --json-lines)"

refused() { # what, status, message, input, then the command
    local what=$1 status=$2 message=$3 input=$4
    shift 4
    printf "$input" >"$work/in"
    "$@" <"$work/in" >"$work/out" 2>"$work/err"
    check "$what: status" "$status" "$?"
    check "$what" "$message" "$(cat "$work/err")"
}

refused "a line that is not UTF-8" 1 "moe2 tokenize: line 2: the text is not UTF-8: byte 1 is 0xff" 'ok\nb\377\n' \
    "$moe2" tokenize --tokenizer "$qwen"
refused "a line that is no string" 1 "moe2 tokenize: line 1: no JSON string" '{}\n' "$moe2" tokenize --tokenizer "$qwen" --json-lines
refused "an id without a token" 1 "moe2 tokenize: line 1: id 99999 has no token, wanted 0 to 545" '[99999]\n' \
    "$moe2" tokenize --tokenizer "$qwen" --decode
refused "an id that is no number" 1 "moe2 tokenize: line 1: element 0 of the array is no id" '[1.5]\n' "$moe2" tokenize --tokenizer "$qwen" --decode
refused "a folder without a tokenizer" 1 "moe2 tokenize: $work holds no tokenizer.json and no vocab.txt" "" "$moe2" tokenize --tokenizer "$work"
refused "no --tokenizer" 2 "moe2 tokenize: --tokenizer is missing (see --help)" "" "$moe2" tokenize

"$moe2" tokenizer train --input "$golden/tokenizer_corpus.txt" --vocab-size 400 --out "$work/a" --pre-tokenizer qwen2 >/dev/null 2>&1
cat "$golden/tokenizer_corpus.txt" | "$moe2" tokenize --tokenizer "$work/a" | "$moe2" tokenize --tokenizer "$work/a" --decode |
    cmp -s - "$golden/tokenizer_corpus.txt"
check "what train writes gives the text back" 0 "$?"
"$moe2" tokenizer train --input "$golden/tokenizer_corpus.txt" "$golden/tokenizer_corpus.txt" --vocab-size 400 --out "$work/b" \
    --pre-tokenizer qwen2 --threads 1 --min-frequency 4 >/dev/null 2>&1
cmp -s "$work/a/tokenizer.json" "$work/b/tokenizer.json"
check "the text twice and twice the frequency give the same merges" 0 "$?"
refused "an input that is not there" 1 "moe2 tokenizer train: $work/none: No such file or directory" "" \
    "$moe2" tokenizer train --input "$work/none" --vocab-size 400 --out "$work/c"
refused "an unknown pre-tokenizer" 2 "moe2 tokenizer train: pre-tokenizer \"x\" is unknown, wanted one of: gpt2, qwen2, llama3, deepseek" "" \
    "$moe2" tokenizer train --input "$qwen" --vocab-size 400 --out "$work/c" --pre-tokenizer x
check "a refused training leaves no folder" "no" "$([ -e "$work/c" ] && echo yes || echo no)"
exit $failed
