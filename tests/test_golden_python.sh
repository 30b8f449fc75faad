#!/usr/bin/env bash
# The program beside transformers itself: what moe2 init, step and logits write, transformers opens and computes alike.
#   test_golden_python.sh MOE2        MOE2_VENV: a virtual environment with torch, transformers and safetensors
set -eu
moe2=$1
here=$(cd "$(dirname "$0")" && pwd)
venv=${MOE2_VENV:-$HOME/.cache/moe2/venv}
if ! "$venv/bin/python" -c 'import torch, transformers, safetensors' 2>/dev/null; then
    echo "skipped: $venv has no Python with torch, transformers and safetensors (MOE2_VENV names another)"
    exit 0
fi
OMP_NUM_THREADS=1 exec "$venv/bin/python" "$here/golden/check_saved.py" "$moe2" "$here/.."
