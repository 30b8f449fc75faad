#!/usr/bin/env bash
# moe2 export beside transformers: models trained with each bias that can be folded give the same logits there.
#   test_export_python.sh MOE2        MOE2_VENV: a virtual environment with torch, transformers and safetensors
set -u
moe2=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
venv=${MOE2_VENV:-$HOME/.cache/moe2/venv}
if ! "$venv/bin/python" -c 'import torch, transformers, safetensors' 2>/dev/null; then
    echo "skipped: $venv has no Python with torch, transformers and safetensors (MOE2_VENV names another)"
    exit 0
fi
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
for i in $(seq 300); do echo "la casa $i sta sul monte e il lago $((i * 7 % 13)) sta sotto."; done >text.txt
status=0
for incentive in rd_esi rd_esi_integral loss_free quantile; do
    "$moe2" train --config /dev/stdin >log.txt 2>&1 <<YAML || { cat log.txt; status=1; }
name: $incentive
data: {text: [text.txt]}
model: {config: $here/../configs/model/tiny.json, vocab_size: 258}
router: {incentive: $incentive}
train: {steps: 25, batch_tokens: 256, sequence: 32}
eval: {tokens: 200}
YAML
    "$moe2" export --checkpoint results/$incentive/checkpoints/last --out out-$incentive >/dev/null || status=1
done
"$venv/bin/python" "$here/export_parity.py" "$moe2" rd_esi rd_esi_integral loss_free quantile 2>err.txt || {
    tail -5 err.txt
    status=1
}
exit $status
