#!/usr/bin/env bash
# --device cuda as a user types it, on the emulator: training from scratch with RD-ESI, going on, fine-tuning on NF4, logits as on the CPU,
# the limit of memory, what is said where there is no GPU. One argument: the program.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
export OMP_WAIT_POLICY=passive
fails() { # NAME STATUS WORDS_OF_THE_MESSAGE COMMAND…
    refused "$1" "$2" "*$3*" "${@:4}"
}
emulated="--device cuda:emulated"
if [ ! -e "$(dirname "$moe2")/libmoe2_cuda_emulated.so" ]; then
    echo "skipped: the emulator was not built for this machine"
    exit 0
fi

# ---- which devices there are ----
fails "a device of no number" 2 'device "cuda:first" is unknown, wanted cuda or cuda:NUMBER' "$moe2" logits --model . --ids 1 --out x.npy --device cuda:first
fails "a size without a unit" 2 '--memory-limit is "24", wanted a size such as 24GiB or 900MB' \
    "$moe2" logits --model . --ids 1 --out x.npy --memory-limit 24
"$moe2" doctor >out.txt 2>/dev/null || fault "doctor"
grep -q -- '--device cuda' out.txt || fault "doctor does not say whether --device cuda works"

# ---- logits ----
model=$here/tests/fixtures/model_v3
"$moe2" logits --model "$model" --ids 5,17,40,3 --out cpu.npy >/dev/null 2>&1 || fault "logits"
# shellcheck disable=SC2086
"$moe2" logits --model "$model" --ids 5,17,40,3 --out gpu.npy $emulated >out.txt 2>&1 || fault "logits $emulated: $(tail -1 out.txt)"
if command -v python3 >/dev/null && python3 -c 'import numpy' 2>/dev/null; then
    python3 -c 'import numpy as n; a, b = n.load("cpu.npy"), n.load("gpu.npy"); e = abs(a - b).max() / abs(a).max(); assert e < 1e-5, e' ||
        fault "logits are not the CPU's"
fi

# ---- training, and going on ----
seq 1 400 >text.txt
cat >t.yaml <<YAML
name: t
data: {text: [text.txt], tokenizer: bytes}
model: {config: $here/configs/model/tiny.json, vocab_size: 258}
router: {incentive: rd_esi}
train: {steps: 2, batch_tokens: 32, sequence: 16, micro_batch: 2, eval_every: 0, save_every: 1, log_every: 1}
YAML
loss() { sed -n 's/.*"step":2,.*"loss":\([0-9.]*\).*/\1/p' "results/$1/metrics.jsonl" | head -1; }
close() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a > 0 && d * d < 1e-8 * a * a) }'; }
# shellcheck disable=SC2086
"$moe2" train --config t.yaml $emulated >out.txt 2>&1 || fault "train: $(tail -1 out.txt)"
"$moe2" train --config t.yaml name=c >out.txt 2>&1 || fault "train on the CPU: $(tail -1 out.txt)"
close "$(loss t)" "$(loss c)" || fault "the loss is $(loss t), on the CPU $(loss c)"
[ -s results/t/checkpoints/last/optimizer.safetensors ] || fault "no checkpoint"
grep -q '"peak_device_bytes": [1-9]' results/t/checkpoints/last/train_state.json || fault "the peak of device memory is not kept"
# shellcheck disable=SC2086
fails "a model above the limit" 1 "of the limit of 1000000 are in use" "$moe2" train --config t.yaml name=x $emulated --memory-limit 1MB

# ---- fine-tuning ----
"$moe2" init --config "$here/configs/model/tiny.json" --out base --seed 3 >/dev/null 2>&1 || fault "init"
cat >f.yaml <<YAML
name: f
base: {path: base, dtype: nf4}
lora: {r: 4, alpha: 8, target_modules: [q_proj, experts.0.down_proj]}
data: {text: [text.txt], tokenizer: bytes}
train: {steps: 1, batch_tokens: 32, sequence: 16, micro_batch: 2, eval_every: 0, save_every: 1, dtype: bf16,
    checkpoint_activations: true, offload: memory, optimizer: adamw8bit}
YAML
# shellcheck disable=SC2086
"$moe2" finetune --config f.yaml $emulated --memory-limit 2GiB >out.txt 2>&1 || fault "finetune: $(tail -1 out.txt)"
grep -q 'peak memory 0.0. GiB, planned' out.txt || fault "finetune says not what the peak was: $(tail -1 out.txt)"
[ -s results/f/adapter/adapter_model.safetensors ] || fault "no adapter"
fails "off-loading of nothing" 2 "train.offload is disk, but without train.checkpoint_activations" \
    "$moe2" finetune --config f.yaml name=x train.offload=disk train.checkpoint_activations=false

# ---- vectors, clusters, gates ----
encoder=enc
cp -r "$here/tests/fixtures/encoder_bert" enc
{ printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' w number; for i in $(seq 0 9); do printf '%s\n##%s\n' "$i" "$i"; done; } >enc/vocab.txt
for i in $(seq 1 40); do echo "{\"text\": \"w$((i % 7)) w$((i % 3)) number $i\"}"; done >rows.jsonl
rows=40
# what COMMAND… writes as FILE on the CPU and on the emulator, within LIMIT of the largest number
near() { # LIMIT FILE COMMAND…
    local limit=$1 file=$2
    shift 2
    "$@" >out.txt 2>&1 || { fault "$*: $(tail -1 out.txt)" && return; }
    mv "$file" cpu_file.npy
    # shellcheck disable=SC2086
    "$@" $emulated --memory-limit 1GiB >out.txt 2>&1 || { fault "$* $emulated: $(tail -1 out.txt)" && return; }
    command -v python3 >/dev/null && python3 -c 'import numpy' 2>/dev/null || return
    python3 -c 'import sys, numpy as n; a, b = n.load("cpu_file.npy"), n.load(sys.argv[1]); e = abs(a - b).max() / abs(a).max(); assert a.shape == b.shape and e <= float(sys.argv[2]), e' \
        "$file" "$limit" || fault "$*: not what the CPU makes"
}
near 1e-5 e.npy "$moe2" embed --model "$encoder" --in rows.jsonl --out e.npy
# shellcheck disable=SC2086
fails "an encoder above the limit" 1 "of the limit of 20000 are in use" \
    "$moe2" embed --model "$encoder" --in rows.jsonl --out x.npy $emulated --memory-limit 0.02MB
"$moe2" embed --features hashed --dim 16 --fit rows.jsonl --in rows.jsonl --out h.npy >/dev/null 2>&1 || fault "embed"
# shellcheck disable=SC2086
fails "hashed features on a GPU" 2 "--device is for --model" \
    "$moe2" embed --features hashed --in rows.jsonl --fit rows.jsonl --out x.npy $emulated
near 0 c/labels.npy "$moe2" cluster --in h.npy --k 3 --out c
# shellcheck disable=SC2086
fails "vectors above the limit" 1 "of the limit of 2000 are in use" \
    "$moe2" cluster --in h.npy --k 3 --out x $emulated --memory-limit 0.002MB
{
    echo question_id,category,answer,a,b
    for i in $(seq 1 $rows); do echo "q$i,c$((i % 2)),A,$((i % 2)),$((i % 3 > 0))"; done
} >o.csv
gate_train=("$moe2" gate train --embeddings h.npy --outcomes o.csv --out g --folds 2 --epochs 2 --hidden 8 --gnuplot "")
for kind in sigmoid knn ensemble; do near 2e-3 g/oof_scores.npy "${gate_train[@]}" --kind $kind; done
near 1e-5 s.npy "$moe2" gate eval --gate g --embeddings h.npy --scores s.npy
for command in "embed --model $encoder --in rows.jsonl --out x.npy" "cluster --in h.npy --out x" \
    "gate eval --gate g --embeddings h.npy --scores x.npy"; do
    # shellcheck disable=SC2086
    fails "an unknown device" 2 'device "gpu" is unknown' "$moe2" $command --device gpu
done
fails "a gate on an unknown device" 2 'device "gpu" is unknown' "${gate_train[@]}" --device gpu
# shellcheck disable=SC2086
fails "a gate above the limit" 1 "of the limit of 1000 are in use" "${gate_train[@]}" $emulated --memory-limit 0.001MB

# ---- merging ----
weights() { cp merged/model.safetensors "$1" && rm -r merged; }
if [ -e results/f/adapter/adapter_model.safetensors ]; then
    "$moe2" merge --model base --adapter results/f/adapter --dtype f32 --out merged >out.txt 2>&1 && weights m.cpu || fault "merge: $(tail -1 out.txt)"
    # shellcheck disable=SC2086
    "$moe2" merge --model base --adapter results/f/adapter --dtype f32 --out merged $emulated >out.txt 2>&1 && weights m.gpu || fault "merge $emulated: $(tail -1 out.txt)"
    [ "$(stat -c %s m.cpu)" = "$(stat -c %s m.gpu)" ] || fault "merged weights are not as many"
fi

finish "cuda commands: fine"
