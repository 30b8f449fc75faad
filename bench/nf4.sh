#!/usr/bin/env bash
# NF4 beside bitsandbytes on a real model: seconds to quantise the same tensors, whether the codes are equal, and the perplexity of the
# quantised model by moe2 and by transformers on the same text, both from the folder that moe2 wrote.
#   bench/nf4.sh MODEL TEXT [MOE2]           MODEL: a folder in float32 or bf16, moe2 convert makes one of a GGUF file
# MOE2_VENV names a virtual environment with torch, transformers and bitsandbytes (without it only ours is measured); MOE2_LOCK
# serialises timed runs; MOE2_WINDOW tokens are seen at once (512), MOE2_BYTES of the text are scored (8000).
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
model=$1 text=$2
moe2=${3:-$here/build/release/moe2}
venv=${MOE2_VENV:-$HOME/.cache/moe2/venv}
window=${MOE2_WINDOW:-512}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
timed() { if [ -n "${MOE2_LOCK:-}" ]; then flock "$MOE2_LOCK" "$@"; else "$@"; fi; }
head -c "${MOE2_BYTES:-8000}" "$text" | iconv -c -t UTF-8 >"$tmp/text.txt"

for _ in 1 2 3; do
    rm -rf "$tmp/nf4"
    begun=$EPOCHREALTIME
    timed "$moe2" quantize --method nf4 --in "$model" --out "$tmp/nf4" >"$tmp/said.txt" 2>&1 || { tail -2 "$tmp/said.txt"; exit 1; }
    awk "BEGIN { printf \"moe2 quantize, the whole command  %6.2f s\\n\", $EPOCHREALTIME - $begun }"
done
tail -1 "$tmp/said.txt"
for folder in "$model" "$tmp/nf4"; do
    timed "$moe2" perplexity --model "$folder" --text "$tmp/text.txt" --window "$window" --json >"$tmp/ppl.json" 2>"$tmp/said.txt"
    echo "moe2 perplexity, $(basename "$folder")  $(tr -d '\n' <"$tmp/ppl.json" | sed 's/.*"tokens": \([0-9]*\).*"ppl": \([0-9.]*\).*"seconds": \([0-9.]*\).*/\2 over \1 tokens, \3 s/')"
done
if "$venv/bin/python" -c 'import torch, transformers, bitsandbytes' 2>/dev/null; then
    timed "$venv/bin/python" "$here/bench/peers/nf4.py" "$model" "$tmp/nf4" "$tmp/text.txt" "$window"
fi
