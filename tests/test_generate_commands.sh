#!/usr/bin/env bash
# moe2 generate and moe2 chat from the outside: what they print, and one sentence for everything that goes wrong.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1


for c in generate chat; do
    "$moe2" $c --help | grep -q '^example:' || fault "$c --help has no example"
done

llama=$source/tests/fixtures/model_llama
"$moe2" generate --model "$llama" --ids 3,7,1,9,11 --max-tokens 6 --temperature 0 --json >"$tmp/json" 2>/dev/null || fault "generate"
[ "$(cat "$tmp/json")" = '{"ids":[17,17,36,15,17,18],"finish":"length","prompt_tokens":5}' ] || fault "generate --json: $(cat "$tmp/json")"
"$moe2" generate --model "$llama" --ids 3,7,1,9,11 --max-tokens 6 --temperature 0 >"$tmp/plain" 2>"$tmp/speed" || fault "generate"
[ "$(cat "$tmp/plain")" = 17,17,36,15,17,18 ] || fault "generate: $(cat "$tmp/plain")"
grep -q '^prompt: 5 tokens, .* tokens/s; generated: 6 tokens, .* tokens/s (length)$' "$tmp/speed" || fault "speeds: $(cat "$tmp/speed")"

# a device whose memory is its own says the same, whatever the weights are kept in
devices_agree() {
    for d in cpu:reference cuda:emulated; do
        "$moe2" generate --model "$1" --ids 3,7,1,9,11 --max-tokens 6 --temperature 0 --json --device $d 2>/dev/null || fault "$1 on $d"
    done >"$tmp/devices"
    [ "$(sort -u "$tmp/devices" | wc -l)" -eq 1 ] || fault "$1: devices differ: $(cat "$tmp/devices")"
}
if [ -e "$(dirname "$moe2")/libmoe2_cuda_emulated.so" ]; then
    devices_agree "$llama"
    devices_agree "$source/tests/fixtures/model_moonlight"
    for q in q8_0.gguf q4_0.gguf nf4; do
        "$moe2" quantize --method "${q%.gguf}" --in "$llama" --out "$tmp/$q" >/dev/null 2>&1 || fault "quantize $q"
        devices_agree "$tmp/$q"
    done
fi

# the same seed, the same text; another one, another
for seed in 1 1 2; do
    "$moe2" generate --model "$llama" --ids 3,7,1 --max-tokens 24 --temperature 2 --seed $seed 2>/dev/null
done >"$tmp/seeds"
[ "$(sed -n 1p "$tmp/seeds")" = "$(sed -n 2p "$tmp/seeds")" ] || fault "one seed gave two texts"
[ "$(sed -n 1p "$tmp/seeds")" != "$(sed -n 3p "$tmp/seeds")" ] || fault "two seeds gave one text"

# a tokenizer of fewer ids than the model has rows: the padded rows never come
cp -r "$llama" "$tmp/padded"
printf '{"added_tokens":[],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":false},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","merges":[],"vocab":{"a":0,"b":1,"c":2,"d":3,"e":4}}}' >"$tmp/padded/tokenizer.json"
for seed in 1 2 3 4 5 6 7 8; do # b is the model's end
    "$moe2" generate --model "$tmp/padded" --prompt acde --max-tokens 20 --temperature 3 --seed $seed --json 2>/dev/null
done >"$tmp/json"
[ "$(grep -cE '^\{"text":"[acde]*","ids":\[([0234](,[0234])*)?\]' "$tmp/json")" -eq 8 ] || fault "padded rows: $(cat "$tmp/json")"
grep -q '"text":"[acde]' "$tmp/json" || fault "no text at all"
"$moe2" generate --model "$tmp/padded" --prompt acde --max-tokens 20 --temperature 3 --seed 3 --stop a --json 2>/dev/null >"$tmp/json"
grep -q '"text":"[b-e]*",' "$tmp/json" || fault "a stop string was not cut off: $(cat "$tmp/json")"

refused "neither prompt nor ids" 2 "moe2 generate: wanted one of --prompt and --ids" "$moe2" generate --model "$llama"
refused "both" 2 "moe2 generate: wanted one of --prompt and --ids" "$moe2" generate --model "$llama" --ids 1 --prompt x
refused "an id of no token" 2 "moe2 generate: id 99 at position 1 is outside the vocabulary of 48" "$moe2" generate --model "$llama" --ids 1,99
refused "a negative temperature" 2 "moe2 generate: temperature -1, wanted 0 to 100" "$moe2" generate --model "$llama" --ids 1 --temperature -1
refused "a type of no kind" 2 "moe2 generate: --compute \"f8\" is unknown, wanted auto, f32 or bf16" "$moe2" generate --model "$llama" --ids 1 --compute f8
refused "a window too short" 2 "moe2 generate: 3 tokens behind 0: there is room for 2 in all" "$moe2" generate --model "$llama" --ids 1,2,3 --context 2
refused "a negative length" 2 "moe2 generate: --max-tokens -1, wanted 0 or more" "$moe2" generate --model "$llama" --ids 1 --max-tokens -1

refused "no chat template" 2 "moe2 chat: $llama: has no chat template, wanted a model that was trained to chat" "$moe2" chat --model "$llama" </dev/null
printf '{"chat_template": "{{ messages }}"}' >"$tmp/padded/tokenizer_config.json"
refused "an unknown template" 2 "*none of the marks of ChatML*" "$moe2" chat --model "$tmp/padded" </dev/null
printf '{"chat_template": "{{ %s }}"}' "'<|im_start|>'" >"$tmp/padded/tokenizer_config.json"
printf 'abc\n\nde\n' | "$moe2" chat --model "$tmp/padded" --max-tokens 5 --temperature 0 >"$tmp/answers" 2>"$tmp/stderr" || fault "chat: $(cat "$tmp/stderr")"
[ "$(grep -c '^prompt: ' "$tmp/stderr")" -eq 2 ] || fault "two turns had not two answers: $(cat "$tmp/stderr")"

if [ -e "$(dirname "$moe2")/libmoe2_cuda_emulated.so" ]; then
    printf 'abc\n\nde\n' | "$moe2" chat --model "$tmp/padded" --max-tokens 5 --temperature 0 --device cuda:emulated >"$tmp/there" 2>"$tmp/stderr" || fault "chat: $(cat "$tmp/stderr")"
    cmp -s "$tmp/answers" "$tmp/there" || fault "chat on a device: $(cat "$tmp/there")"
fi

finish "generate and chat: all as promised"
