#!/usr/bin/env bash
# moe2 quantize --method nf4 beside transformers with bitsandbytes: the folder is loaded as it is, and its logits are ours.
#   test_nf4_python.sh MOE2        MOE2_VENV: a virtual environment with torch, transformers and bitsandbytes
set -u
moe2=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
venv=${MOE2_VENV:-$HOME/.cache/moe2/venv}
if ! "$venv/bin/python" -c 'import torch, transformers, bitsandbytes' 2>/dev/null; then
    echo "skipped: $venv has no Python with torch, transformers and bitsandbytes (MOE2_VENV names another)"
    exit 0
fi
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
# on a CPU bitsandbytes wants rows of whole blocks of 64
sed 's/"intermediate_size": 352/"intermediate_size": 384/' "$here/../configs/model/fleet-large.json" >config.json
"$moe2" init --config config.json --out model --dtype bf16 >log.txt 2>&1 &&
    "$moe2" quantize --method nf4 --in model --out nf4 >>log.txt 2>&1 &&
    "$moe2" logits --model nf4 --ids 0,50,86,70,84,85,74,80,79,27,1,56,73,66,85,200 --out ours.npy >>log.txt 2>&1 ||
    { cat log.txt; exit 1; }
"$venv/bin/python" "$here/golden/check_nf4.py" nf4 ours.npy 0 50 86 70 84 85 74 80 79 27 1 56 73 66 85 200 2>err.txt || {
    tail -5 err.txt
    exit 1
}
