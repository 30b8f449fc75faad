#!/usr/bin/env bash
# LoRA steps of moe2 beside transformers + peft on the same shapes: tokens a second and peak memory, r 16 on all linear layers, random
# weights. moe2 with a float32, a bf16 and an NF4 base; peft in float32; in turns, MOE2_ROUNDS (3) times MOE2_STEPS (3) steps, of which the
# first counts nowhere. Prints medians over all steps.
#   bench/finetune.sh [MOE2] [SHAPE…]        SHAPE: 135m-1x512 135m-4x512 0.5b-1x512 mla-1x512; without one, all
# MOE2_VENV names a virtual environment with torch, transformers and peft (without it peft is left out); MOE2_LOCK serialises timed runs.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
moe2=${1:-$here/build/release/moe2}
shift || true
[ $# -gt 0 ] || set -- 135m-1x512 135m-4x512 0.5b-1x512 mla-1x512
venv=${MOE2_VENV:-$HOME/.cache/moe2/venv}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
steps=${MOE2_STEPS:-3} rounds=${MOE2_ROUNDS:-3}
timed() { if [ -n "${MOE2_LOCK:-}" ]; then flock "$MOE2_LOCK" "$@"; else "$@"; fi; }

config_of() { # SHAPE: its config.json
    case $1 in
    135m*) echo '{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49152, "hidden_size": 576,
        "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 8192, "tie_word_embeddings": true, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": 2}' ;;
    0.5b*) echo '{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151936, "hidden_size": 896,
        "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "max_position_embeddings": 32768, "tie_word_embeddings": true, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "hidden_act": "silu", "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": 2}' ;;
    mla*) sed -e 's/"hidden_size": [0-9]*/"hidden_size": 512/; s/"vocab_size": [0-9]*/"vocab_size": 32000/' \
        -e 's/"num_hidden_layers": [0-9]*/"num_hidden_layers": 8/; s/"num_attention_heads": [0-9]*/"num_attention_heads": 8/' \
        -e 's/"num_key_value_heads": [0-9]*/"num_key_value_heads": 8/; s/"kv_lora_rank": [0-9]*/"kv_lora_rank": 128/' \
        -e 's/"intermediate_size": [0-9]*/"intermediate_size": 512/; s/"moe_intermediate_size": [0-9]*/"moe_intermediate_size": 512/' \
        -e 's/"max_position_embeddings": [0-9]*/"max_position_embeddings": 4096/' "$here/configs/model/tiny.json" ;;
    *) echo "unknown shape $1" >&2 && exit 2 ;;
    esac
}

median() { sort -n | awk '{ x[NR] = $1 } END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'; }

ours() { # SHAPE BASE: adds its steps' tokens/s to $tmp/rate-BASE
    local sequences=${1##*-}
    sequences=${sequences%x*}
    rm -rf "$tmp/results"
    cat >"$tmp/f.yaml" <<YAML
name: $1-$2
results_dir: $tmp/results
base: {path: $tmp/$1, dtype: $2}
lora: {r: 16, alpha: 32, target_modules: [all-linear]}
data: {text: [$tmp/text.txt], tokenizer: bytes}
train: {steps: $steps, batch_tokens: $((512 * sequences)), sequence: 512, micro_batch: $sequences, lr: 0.0002, min_lr: 0, eval_every: 0, save_every: 1000}
YAML
    timed "$moe2" finetune --config "$tmp/f.yaml" >"$tmp/out.txt" 2>&1 || { echo "moe2 $2: $(tail -1 "$tmp/out.txt")"; return; }
    sed -n '2,$s/.*"tokens_per_s":\([0-9.]*\).*/\1/p' "$tmp/results/$1-$2/metrics.jsonl" >>"$tmp/rate-$2"
    grep -o 'peak memory.*' "$tmp/out.txt" >"$tmp/memory-$2"
}

peer() { # SHAPE: the same for peft; it prints the median of its steps
    timed "$venv/bin/python" "$here/bench/peers/lora_train.py" "$tmp/$1" "${1##*-}" "$steps" >"$tmp/out.txt" 2>/dev/null || { echo "peft: failed"; return; }
    sed -n 's/.* \([0-9.]*\) tokens\/s.*/\1/p' "$tmp/out.txt" >>"$tmp/rate-peft"
    grep -o 'peak memory.*' "$tmp/out.txt" >"$tmp/memory-peft"
}

seq 1 60000 >"$tmp/text.txt"
for shape in "$@"; do
    mkdir -p "$tmp/$shape-config"
    config_of "$shape" >"$tmp/$shape-config/config.json"
    if ! "$moe2" init --config "$tmp/$shape-config/config.json" --out "$tmp/$shape" --dtype f32 --seed 1 >"$tmp/out.txt" 2>&1; then
        echo "$shape: skipped, $(tail -1 "$tmp/out.txt")"
        continue
    fi
    rm -f "$tmp"/rate-* "$tmp"/memory-*
    with_peer=
    case $shape in mla*) ;; # peft keeps experts fused
    *) [ -n "${MOE2_NO_PEER:-}" ] || ! "$venv/bin/python" -c 'import torch, transformers, peft' 2>/dev/null || with_peer=yes ;;
    esac
    for _ in $(seq "$rounds"); do
        for base in f32 bf16 nf4; do ours "$shape" $base; done
        [ -z "$with_peer" ] || peer "$shape"
    done
    for who in f32 bf16 nf4 peft; do
        [ ! -s "$tmp/rate-$who" ] || printf '%-12s %-5s %8.1f tokens/s (%s)   %s\n' "$shape" $who "$(median <"$tmp/rate-$who")" \
            "$(sort -n "$tmp/rate-$who" | sed 's/\..*//' | sed -n '1p;$p' | paste -sd- | sed 's/-/ to /')" "$(cat "$tmp/memory-$who")"
    done
    rm -rf "${tmp:?}/$shape"
done
