#!/usr/bin/env bash
# Prompts and decoding, ours beside llama.cpp's on the same GGUF files, in processes of their own, in turns.
#   bench/generate.sh [--llama BUILD] [--device cpu] [--rounds 3] [--threads 2] [--runs 3] MODEL.gguf…
# BUILD is what bench/peers/llama.sh made (which is asked where nothing is said): its llama_peer measures what llama-bench measures, a
# prompt of 512 and 128 tokens one by one. A stand-in for an older machine: --llama "$(bench/peers/llama.sh avx2)" --device cpu:avx2.
# Each of the --runs turns takes --rounds of each after a warm-up. Prints medians, the ratio, and what share of the copy bandwidth our
# decoding makes. Files of the shapes in docs/benchmarks.md: llama_peer quantize for SmolLM2, mkgguf.py of the peers for random weights.
set -eu
cd "$(dirname "$0")/.."
rounds=3 threads=2 runs=3 device=cpu llama= models=()
while [ $# -gt 0 ]; do
    case $1 in
    --llama) llama=$2 ;; --device) device=$2 ;; --rounds) rounds=$2 ;; --threads) threads=$2 ;; --runs) runs=$2 ;;
    --*) echo "bench/generate.sh: unknown option $1" >&2; exit 2 ;;
    *) models+=("$1"); shift; continue ;;
    esac
    shift 2
done
[ ${#models[@]} -gt 0 ] || { echo "bench/generate.sh: wanted models" >&2; exit 2; }
[ -n "$llama" ] || llama=$(bench/peers/llama.sh)
lock=${MOE2_LOCK:-/tmp/moe2.lock}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# field FILE NAME: the median over lines of a number
field() { sed -E "s/.*\"$2\": ([0-9.]+).*/\1/" "$1" | sort -g | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
export OMP_NUM_THREADS=$threads
printf '%-28s %10s %10s %6s %10s %10s %6s %8s %6s\n' model prompt llama.cpp ratio decode llama.cpp ratio GB/s "of copy"
for m in "${models[@]}"; do
    : >"$WORK/ours"; : >"$WORK/theirs"
    for _ in $(seq "$runs"); do
        flock -x "$lock" build/release/bench_generate "$m" "$rounds" "$threads" --device "$device" --json >>"$WORK/ours"
        flock -x "$lock" "$llama/bin/llama_peer" bench "$m" "$rounds" "$threads" 512 128 >>"$WORK/theirs"
    done
    p=$(field "$WORK/ours" prompt_median) q=$(field "$WORK/theirs" prompt_median)
    d=$(field "$WORK/ours" decode_median) e=$(field "$WORK/theirs" decode_median)
    printf '%-28s %10.1f %10.1f %6.2f %10.1f %10.1f %6.2f %8.1f %6.2f\n' "$(basename "$m" .gguf)" "$p" "$q" "$(awk "BEGIN {print $p / $q}")" \
        "$d" "$e" "$(awk "BEGIN {print $d / $e}")" "$(field "$WORK/ours" gbs)" "$(field "$WORK/ours" share_of_copy)"
done
