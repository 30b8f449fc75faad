#!/usr/bin/env bash
# moe2 init, logits, grad and step from the outside: what they write, and one sentence for everything that goes wrong.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

# says STATUS MESSAGE COMMAND…: ends so, with nothing but that on stderr
says() {
    refused "${*:3}" "$1" "$2" "${@:3}"
    same "${*:3}: one line" "" "$(sed '$d' refused.err)"
}

for c in init logits grad step; do
    "$moe2" $c --help | grep -q '^example:' || fault "$c --help has no example"
done

tiny=$tmp/tiny
says 0 "" "$moe2" init --config "$source/configs/model/tiny.json" --out "$tiny" --seed 3
grep -q '243696 parameters, 169968 active' refused.out || fault "init said $(cat refused.out)"
says 0 "" "$moe2" init --config "$tiny" --out "$tmp/again" --seed 3
cmp -s "$tiny/model.safetensors" "$tmp/again/model.safetensors" || fault "the same seed gave other numbers"
says 0 "" "$moe2" init --config "$tiny" --out "$tmp/half" --seed 3 --dtype bf16
[ "$(stat -c %s "$tmp/half/model.safetensors")" -lt $((243696 * 2 + 20000)) ] || fault "bf16 is not half of float32"

says 0 "" "$moe2" logits --model "$tiny" --ids 1,2,3 --out "$tmp/x.npy"
[ "$(stat -c %s "$tmp/x.npy")" -eq $((128 + 3 * 512 * 4)) ] || fault "x.npy is not [3, 512] of float32"
says 0 "" "$moe2" logits --model "$tiny" --ids 1,2,3 --out "$tmp/y.npy" --threads 1
says 0 "" "$moe2" grad --model "$tiny" --ids 1,2,3,4 --out "$tmp/g.safetensors"
grep -q '"loss": *"6\.' "$tmp/g.safetensors" || fault "g.safetensors has no loss in its metadata"
says 0 "" "$moe2" step --model "$tiny" --ids 1,2,3,4 --steps 3 --lr 1e-3 --out "$tmp/stepped"
[ "$(grep -c '^step' refused.out)" -eq 3 ] || fault "step did not print three losses"
says 0 "" "$moe2" step --model "$tiny" --ids 1,2,3,4 --steps 0 --out "$tmp/same"
cmp -s "$tiny/model.safetensors" "$tmp/same/model.safetensors" || fault "no steps changed the model"

says 2 "moe2 logits: id 512 at position 1 is outside the vocabulary of 512" "$moe2" logits --model "$tiny" --ids 1,512 --out "$tmp/z.npy"
says 2 "moe2 grad: --ids has 1 id, wanted at least 2: every id but the first is a target" "$moe2" grad --model "$tiny" --ids 1 --out "$tmp/z"
says 2 "moe2 step: --lr is -1, wanted 0 to 1000" "$moe2" step --model "$tiny" --ids 1,2 --lr -1 --out "$tmp/z"
says 2 "moe2 logits: --threads is -3, wanted 0 to 1024" "$moe2" logits --model "$tiny" --ids 1,2 --threads -3 --out "$tmp/z"
says 2 "moe2 init: --dtype is \"f8\", wanted f32, bf16 or nf4" "$moe2" init --config "$tiny" --out "$tmp/z" --dtype f8
says 1 "moe2 logits: $tmp/nowhere: can't be opened: No such file or directory" "$moe2" logits --model "$tmp/nowhere" --ids 1 --out "$tmp/z.npy"
says 1 "moe2 logits: $tmp/nowhere/z.npy: can't be written: No such file or directory" "$moe2" logits --model "$tiny" --ids 1 --out "$tmp/nowhere/z.npy"
mkdir "$tmp/broken" && cp "$tiny/config.json" "$tmp/broken" && head -c 100000 "$tiny/model.safetensors" >"$tmp/broken/model.safetensors"
"$moe2" logits --model "$tmp/broken" --ids 1 --out "$tmp/z.npy" 2>"$tmp/stderr" && fault "a cut checkpoint opened"
[ "$(wc -l <"$tmp/stderr")" -eq 1 ] || fault "a cut checkpoint: $(cat "$tmp/stderr")"
printf '{"model_type": "gpt2"}' >"$tmp/broken/config.json"
says 1 "moe2 logits: $tmp/broken/config.json: model_type is \"gpt2\", wanted deepseek_v3, deepseek_v2, llama, mistral, qwen2 or qwen3" "$moe2" logits --model "$tmp/broken" --ids 1 --out "$tmp/z.npy"
if [ "$(df -B1000000000 --output=avail "$tmp" | tail -1)" -lt 2600 ]; then
    got=$("$moe2" init --config "$source/configs/model/deepseek-v3.json" --out "$tmp/v3" --dtype f32 2>&1)
    case $got in "moe2 init: $tmp/v3: the checkpoint takes 2684.1 GB, the disk has room for "*" GB") ;; *) fault "a full disk: $got" ;; esac
    [ -z "$(ls "$tmp/v3")" ] || fault "init began what the disk has no room for"
fi
ls "$tmp"/z* >/dev/null 2>&1 && fault "a command that failed left $(ls "$tmp"/z*)"

finish "moe2 init, logits, grad, step: as promised"
