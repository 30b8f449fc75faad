#!/usr/bin/env bash
# Every figure of docs/benchmarks.md, one after the other: limits, training beside transformers, kernels, routing, tokenizers. About fifteen minutes.
set -eu
cd "$(dirname "$0")/.."
lock=${MOE2_LOCK:-/tmp/moe2.lock}
echo "== limits of this machine"
flock "$lock" build/release/bench_limits
for shape in "8 256" "1 2048"; do
    set -- $shape
    echo "== training the medium model, float32, $1 x $2, beside transformers"
    bash bench/train.sh --batch "$1" --seq "$2"
done
echo "== the same, 8 x 256, bf16"
bash bench/train.sh --dtype bf16
echo "== the same, 8 x 256, float32, AVX2 kernels alone"
bash bench/train.sh --kernels cpu:avx2
echo "== kernels"
flock "$lock" build/release/bench_kernels
if [ -x build/release/bench_onednn ]; then
    echo "== products beside oneDNN (apt-get install libdnnl-dev)"
    flock "$lock" build/release/bench_onednn
fi
echo "== routing"
flock "$lock" build/release/bench_route
echo "== tokenizers"
bash bench/tokenizer.sh
