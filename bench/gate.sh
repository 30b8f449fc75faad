#!/usr/bin/env bash
# The gate's training beside PyTorch's, k-means beside scikit-learn's: the same data, processes of their own, taking turns.
#   bench/gate.sh [--rounds 3] [--threads 2] [--epochs 50] [--only kmeans|mlp]
# 11,000 × 768, 8 heads, 256 hidden units, batches of 128; 20,000 × 768, k = 8, 4 starts. Prints medians and ratios. $MOE2_VENV names a
# virtual environment with torch, scikit-learn and numpy.
set -eu
cd "$(dirname "$0")/.."
rounds=3 threads=2 epochs=50 only=
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 ;; --threads) threads=$2 ;; --epochs) epochs=$2 ;; --only) only=$2 ;;
    *) echo "bench/gate.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
python=${MOE2_VENV:-$HOME/.cache/moe2/venv}/bin/python
lock=${MOE2_LOCK:-/tmp/moe2.lock}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
peer=bench/peers/kmeans_gate.py
export OMP_NUM_THREADS=$threads
ours=(env GOMP_SPINCOUNT=20000) # as moe2 sets it for itself (src/cli/main.c); spins still cost much where cores are shared
"$python" $peer data "$work"
for r in $(seq "$rounds"); do
    if [ "$only" != mlp ]; then
        flock -x "$lock" "${ours[@]}" build/release/bench_gate kmeans "$work/x_kmeans.npy" 8 4 "$r" "$threads" >>"$work/out"
        flock -x "$lock" "$python" $peer kmeans "$work/x_kmeans.npy" 8 4 "$r" "$threads" >>"$work/out"
    fi
    if [ "$only" != kmeans ]; then
        for type in f32 bf16; do
            flock -x "$lock" "${ours[@]}" build/release/bench_gate mlp "$work/x_gate.npy" "$work/y_gate.npy" "$epochs" "$r" "$threads" $type >>"$work/out"
        done
        flock -x "$lock" "$python" $peer mlp "$work/x_gate.npy" "$work/y_gate.npy" "$epochs" "$r" "$threads" >>"$work/out"
    fi
done
"$python" bench/peers/kmeans_gate_table.py "$work/out"
