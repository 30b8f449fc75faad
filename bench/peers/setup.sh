#!/usr/bin/env bash
# Makes the virtual environment of the peers, once: ${MOE2_VENV:-~/.cache/moe2/venv}. Prints its python.
set -eu
venv=${MOE2_VENV:-$HOME/.cache/moe2/venv}
if ! "$venv/bin/python" -c 'import torch, transformers, tiktoken' 2>/dev/null; then
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install -q -r "$(dirname "$0")/requirements.txt" >&2
fi
echo "$venv/bin/python"
