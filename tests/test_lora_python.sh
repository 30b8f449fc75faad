#!/usr/bin/env bash
# Adapters beside peft itself: files that either wrote, read by the other.
#   test_lora_python.sh MOE2        MOE2_VENV: a virtual environment with torch, transformers, peft and safetensors
set -eu
moe2=$1
here=$(cd "$(dirname "$0")" && pwd)
venv=${MOE2_VENV:-$HOME/.cache/moe2/venv}
if ! "$venv/bin/python" -c 'import torch, transformers, peft, safetensors' 2>/dev/null; then
    echo "skipped: $venv has no Python with torch, transformers, peft and safetensors (MOE2_VENV names another)"
    exit 0
fi
export OMP_NUM_THREADS=1
exec "$venv/bin/python" "$here/golden/check_lora.py" "$moe2" "$here/.."
