#!/usr/bin/env bash
# The two base models of the built-in fleet, which stand for a 7B and a 3B model in the demo and the tests: makes questions in Italian and a
# tokenizer of single bytes, trains both from scratch and writes them in bf16.
#   tools/make-bases.sh [MOE2] [--device cuda] [--out DIR]      MOE2: build/release/moe2; DIR: models
# Minutes on a GPU, hours on two cores (docs/building.md). The same device gives the same bytes again.
set -eu
cd "$(dirname "$0")/.."
moe2=build/release/moe2 device=cpu out=models
while [ $# -gt 0 ]; do
    case $1 in
    --device) device=$2; shift ;;
    --out) out=$2; shift ;;
    *) moe2=$1 ;;
    esac
    shift
done
data=data/fleet
if [ ! -f $data/synth.json ]; then
    "$moe2" data synth --language it --train 200000 --seed 7 --out $data
fi
"$moe2" tokenizer train --input README.md --vocab-size 258 --out $data/tokenizer
for size in large small; do
    "$moe2" train --config configs/base/fleet.yaml --set name=fleet-$size --set model.config=configs/model/fleet-$size.json \
        --set train.device="$device" &
    [ "$device" = cpu ] && wait
done
wait
mkdir -p "$out"
for size in large small; do
    rm -rf "$out/fleet-$size"
    "$moe2" convert --in results/fleet-$size/checkpoints/best --out "$out/fleet-$size" --type bf16
done
