#!/usr/bin/env bash
# --device cuda as a user types it, on the emulator: training from scratch with RD-ESI, going on, fine-tuning on NF4, logits as on the CPU,
# the limit of memory, what is said where there is no GPU. One argument: the program.
set -u
moe2=$1
here=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
export OMP_WAIT_POLICY=passive
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
refused() { # NAME WORDS COMMAND…: the command fails, its last line on stderr holds the words
    local name=$1 words=$2 got
    shift 2
    "$@" >/dev/null 2>said.txt && fail "$name: was not refused"
    got=$(tail -1 said.txt)
    case $got in *"$words"*) ;; *) fail "$name: said \"$got\", wanted \"$words\"" ;; esac
}
emulated="--device cuda:emulated"
if [ ! -e "$(dirname "$moe2")/libmoe2_cuda_emulated.so" ]; then
    echo "skipped: the emulator was not built for this machine"
    exit 0
fi

# ---- which devices there are ----
refused "a device of no number" 'device "cuda:first" is unknown, wanted cuda or cuda:NUMBER' "$moe2" logits --model . --ids 1 --out x.npy --device cuda:first
refused "a size without a unit" '--memory-limit is "24", wanted a size such as 24GiB or 900MB' \
    "$moe2" logits --model . --ids 1 --out x.npy --memory-limit 24
"$moe2" doctor >out.txt 2>/dev/null || fail "doctor"
grep -q -- '--device cuda' out.txt || fail "doctor does not say whether --device cuda works"

# ---- logits ----
model=$here/tests/fixtures/model_v3
"$moe2" logits --model "$model" --ids 5,17,40,3 --out cpu.npy >/dev/null 2>&1 || fail "logits"
# shellcheck disable=SC2086
"$moe2" logits --model "$model" --ids 5,17,40,3 --out gpu.npy $emulated >out.txt 2>&1 || fail "logits $emulated: $(tail -1 out.txt)"
if command -v python3 >/dev/null && python3 -c 'import numpy' 2>/dev/null; then
    python3 -c 'import numpy as n; a, b = n.load("cpu.npy"), n.load("gpu.npy"); e = abs(a - b).max() / abs(a).max(); assert e < 1e-5, e' ||
        fail "logits are not the CPU's"
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
"$moe2" train --config t.yaml $emulated >out.txt 2>&1 || fail "train: $(tail -1 out.txt)"
"$moe2" train --config t.yaml name=c >out.txt 2>&1 || fail "train on the CPU: $(tail -1 out.txt)"
close "$(loss t)" "$(loss c)" || fail "the loss is $(loss t), on the CPU $(loss c)"
[ -s results/t/checkpoints/last/optimizer.safetensors ] || fail "no checkpoint"
grep -q '"peak_device_bytes": [1-9]' results/t/checkpoints/last/train_state.json || fail "the peak of device memory is not kept"
# shellcheck disable=SC2086
refused "a model above the limit" "of the limit of 1000000 are in use" "$moe2" train --config t.yaml name=x $emulated --memory-limit 1MB

# ---- fine-tuning ----
"$moe2" init --config "$here/configs/model/tiny.json" --out base --seed 3 >/dev/null 2>&1 || fail "init"
cat >f.yaml <<YAML
name: f
base: {path: base, dtype: nf4}
lora: {r: 4, alpha: 8, target_modules: [q_proj, experts.0.down_proj]}
data: {text: [text.txt], tokenizer: bytes}
train: {steps: 1, batch_tokens: 32, sequence: 16, micro_batch: 2, eval_every: 0, save_every: 1, dtype: bf16,
    checkpoint_activations: true, offload: memory, optimizer: adamw8bit}
YAML
# shellcheck disable=SC2086
"$moe2" finetune --config f.yaml $emulated --memory-limit 2GiB >out.txt 2>&1 || fail "finetune: $(tail -1 out.txt)"
grep -q 'peak memory 0.0. GiB, planned' out.txt || fail "finetune says not what the peak was: $(tail -1 out.txt)"
[ -s results/f/adapter/adapter_model.safetensors ] || fail "no adapter"
refused "off-loading of nothing" "train.offload is disk, but without train.checkpoint_activations" \
    "$moe2" finetune --config f.yaml name=x train.offload=disk train.checkpoint_activations=false

[ $failures = 0 ] && echo "cuda commands: fine"
exit $((failures > 0))
