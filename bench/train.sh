#!/usr/bin/env bash
# A training step of the medium DeepSeek-V3 model, ours beside transformers at its best settings, alternating.
#   bench/train.sh [--rounds 3] [--batch 8] [--seq 256] [--steps 6] [--dtype f32|bf16] [--kernels cpu:avx2]
# Prints medians, the ratio, and each side's share of this machine's measured multiply-add peak.
set -eu
cd "$(dirname "$0")/.."
rounds=3 batch=8 seq=256 steps=6 dtype=f32 kernels=cpu
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 ;; --batch) batch=$2 ;; --seq) seq=$2 ;; --steps) steps=$2 ;; --dtype) dtype=$2 ;; --kernels) kernels=$2 ;;
    *) echo "bench/train.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
python=$(bench/peers/setup.sh)
lock=${MOE2_LOCK:-/tmp/moe2.lock}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
peer_dtype=$dtype
[ "$dtype" = bf16 ] && peer_dtype=autocast
exec 9>"$lock"
flock 9
peak=$(build/release/bench_limits | awk 'NR > 1 && $2 > best { best = $2 } END { print best }')
echo "measured float32 multiply-add peak: $peak GFLOP/s"
for r in $(seq "$rounds"); do
    GOMP_SPINCOUNT=20000 build/release/bench_step --device "$kernels" --batch "$batch" --seq "$seq" --steps "$steps" --dtype "$dtype" --json >>"$out"
    (cd bench/peers && . ./tuned_env.sh && "$python" moe_train.py --experts grouped_mm --batch "$batch" --seq "$seq" --steps "$steps" --dtype "$peer_dtype") >>"$out" 2>/dev/null
done
"$python" bench/peers/side_by_side.py "$out" --peak "$peak"
