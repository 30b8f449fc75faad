#!/usr/bin/env bash
# A DeepSeek-V3-shaped model of 16 billion weights in NF4 on the CPU (Moonlight's shape, random weights): made, opened, run, and trained
# with adapters on attention, experts and router under RD-ESI. Prints the seconds and the peak memory of each step, mapped file
# pages counted, and fails where a step takes more than 16 GB.
#   bench/moonlight.sh [MOE2] [DIR]          DIR: where the model goes (a temporary folder); one that is there is used and kept
# MOE2_STEPS optimizer steps (2) of MOE2_TOKENS tokens (256). Skipped where the disk has less than 11 GB or the memory less than 12.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
moe2=${1:-$here/build/release/moe2}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
model=${2:-$tmp/moonlight}
limit_kb=$((16000000000 / 1024))
room_kb=$(df --output=avail "$(dirname "$model")" | tail -1)
free_kb=$(awk '/MemAvailable/ { print $2 }' /proc/meminfo)
if [ ! -e "$model/config.json" ] && [ "$room_kb" -lt $((11000000000 / 1024)) ]; then
    echo "skipped: the disk has $((room_kb / 1000000)) GB of room, 11 are wanted" && exit 0
fi
[ "$free_kb" -ge $((12000000000 / 1024)) ] || { echo "skipped: $((free_kb / 1000000)) GB of memory are free, 12 are wanted"; exit 0; }

cat >"$tmp/f.yaml" <<YAML
name: moonlight
results_dir: $tmp/results
base: {path: $model, dtype: nf4}
lora: {r: 8, alpha: 16, target_modules: [all-linear, mlp.gate]}
router: {incentive: rd_esi}
data: {text: [$tmp/text.txt], tokenizer: bytes}
train: {steps: ${MOE2_STEPS:-2}, batch_tokens: ${MOE2_TOKENS:-256}, sequence: ${MOE2_TOKENS:-256}, micro_batch: 1, lr: 0.0002, min_lr: 0,
        optimizer: adamw8bit, checkpoint_activations: true, log_every: 1, eval_every: 0, save_every: 1000, memory_gb: 16}
YAML
seq 1 20000 >"$tmp/text.txt"

measured() { # NAME COMMAND…: its output to NAME.txt, its seconds and its peak memory to standard output
    local name=$1 begun=$EPOCHREALTIME peak=0 now
    shift
    "$@" >"$tmp/$name.txt" 2>&1 &
    local pid=$!
    while now=$(awk '/VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
        peak=$now
        sleep 0.2
    done
    wait $pid || { tail -2 "$tmp/$name.txt"; exit 1; }
    printf '%-9s %7.1f s   %6.2f GB at the peak\n' "$name" "$(awk "BEGIN { print $EPOCHREALTIME - $begun }")" "$(awk "BEGIN { print $peak * 1.024e-6 }")"
    [ "$peak" -le $limit_kb ] || { echo "$name took more than 16 GB"; exit 1; }
}

[ -e "$model/config.json" ] || measured init "$moe2" init --config "$here/configs/model/moonlight.json" --dtype nf4 --out "$model" --seed 1
measured inspect "$moe2" inspect "$model"
grep 'parameters' "$tmp/inspect.txt"
measured generate "$moe2" generate --model "$model" --ids 1,2,3,4,5,6,7,8 --max-tokens 8 --temperature 0
tr '\r' '\n' <"$tmp/generate.txt" | grep 'tokens' | tail -1
measured finetune "$moe2" finetune --config "$tmp/f.yaml"
grep '^step\|peak memory' "$tmp/finetune.txt"
