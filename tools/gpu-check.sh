#!/usr/bin/env bash
# Everything that needs a GPU, in one command: builds, tests, looks for memory errors and races, measures, and writes what came out.
#   tools/gpu-check.sh [--build DIR] [--out DIR] [--quick] [PART…]       PART: tests sanitizer bench peers; without one, all
# DIR (build/cuda) is built when it lacks libmoe2_cuda.so. OUT (results/gpu) gets machine.txt, tests.txt, sanitizer.txt, figures.jsonl (a line a
# figure, and NAME.txt where a bench says more) and peers.jsonl. --quick generates with a small model. Exits 1 when a test failed.
set -u
cd "$(dirname "$0")/.." || exit 1
build=build/cuda out=results/gpu size=7b parts=""
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$2; shift ;;
    --out) out=$2; shift ;;
    --quick) size=0.5b ;;
    tests | sanitizer | bench | peers) parts="$parts $1" ;;
    *) sed -n '2,5p' "$0"; exit 2 ;;
    esac
    shift
done
parts=${parts:-tests sanitizer bench peers}
mkdir -p "$out"
failed=0

# cuBLASLt: the toolkit's, or the one that a Python package brought
if ! ldconfig -p | grep -q 'libcublasLt\.so'; then
    for dir in /usr/local/cuda/lib64 $(python3 -c '
import glob, site, sys
for base in site.getsitepackages() + sys.path:
    for so in glob.glob(base + "/nvidia/*/lib/libcublasLt.so*"):
        print(so.rsplit("/", 1)[0])' 2>/dev/null | sort -u); do
        [ -e "$(echo "$dir"/libcublasLt.so* | cut -d' ' -f1)" ] && export LD_LIBRARY_PATH="$dir:${LD_LIBRARY_PATH:-}" && break
    done
fi
if [ ! -f "$build/libmoe2_cuda.so" ]; then
    cmake --preset cuda -B "$build" >"$out/build.txt" 2>&1 && cmake --build "$build" >>"$out/build.txt" 2>&1 ||
        { tail -20 "$out/build.txt"; exit 1; }
fi
{
    date -u +%F
    nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.max.sm --format=csv,noheader
    "$build/moe2" doctor 2>/dev/null | grep -E 'gpu|cores|model'
} | tee "$out/machine.txt"

each_test() { # PROGRAM…: runs those that are there
    for name in "$@"; do
        [ -x "$build/$name" ] || continue
        if timeout 180 "$build/$name" >"$out/$name.log" 2>&1; then
            echo "pass $name $(grep -c 'OK \]' "$out/$name.log") skipped $(grep -c 'SKIPPED \]' "$out/$name.log")"
        else
            echo "FAIL $name"
            grep -E 'FAILED|off by|differ|error|wanted|\[  LINE' "$out/$name.log" | head -12
            failed=1
        fi
    done
}

sanitize() { # TOOL PROGRAM: one line
    local log="$out/$1-$2.txt" status
    [ -x "$build/$2" ] || return
    timeout 120 compute-sanitizer --tool "$1" --error-exitcode 9 "$build/$2" >"$log" 2>&1
    status=$?
    echo "$1 $2: rc $status, $(grep -o 'SUMMARY.*' "$log"), $(grep -c 'OK \]' "$log") tests passed" >>"$out/sanitizer.txt"
}

figure() { # NAME COMMAND…: one line of JSON for each that it prints, what else it prints into NAME.txt
    local name=$1 text rest
    shift
    if text=$(timeout 200 "$@" 2>"$out/bench.err"); then
        echo "$text" | grep '^{' | sed "s/^{/{\"bench\": \"$name\", /" | tee -a "$out/figures.jsonl" | cut -c1-400
        rest=$(echo "$text" | grep -v '^{') && echo "$rest" >"$out/$name.txt"
    else
        echo "FAIL $name: $(tail -1 "$out/bench.err")" | tee -a "$out/failures.txt"
    fi
}

for part in $parts; do
    case $part in
    tests)
        each_test test_device test_kernels_rows test_kernels_narrow test_kernels_products test_kernels_experts test_kernels_attention test_kernels_encoder \
            test_kernels_packed test_model_golden test_cuda test_session test_encoder test_kmeans test_gate >"$out/tests.txt" 2>&1
        cat "$out/tests.txt"
        grep -q '^FAIL' "$out/tests.txt" && failed=1
        ;;
    sanitizer)
        command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer here"; continue; }
        : >"$out/sanitizer.txt"
        for word in memcheck:{rows,narrow,products,attention,packed,encoder} racecheck:{attention,packed,products}; do
            sanitize "${word%:*}" "test_kernels_${word#*:}" &
        done
        sanitize memcheck test_model_golden &
        wait
        cat "$out/sanitizer.txt"
        grep -qv ': rc 0' "$out/sanitizer.txt" && failed=1
        ;;
    bench)
        : >"$out/figures.jsonl"
        figure products "$build/bench_cuda_products" --json
        figure products-plain "$build/bench_cuda_products" --json --experts --device cuda:plain
        figure attention "$build/bench_cuda_attention" --json
        figure rows "$build/bench_cuda_rows" --json
        figure packed "$build/bench_cuda_packed" --json
        step() { # NAME WORD…
            local name=$1
            shift
            figure "$name" "$build/bench_step" --device cuda --json --warm 2 --steps 5 --memory-limit 24 "$@"
        }
        step scratch-medium --config configs/model/medium.json --dtype bf16 --batch 64 --seq 512 --incentive rd_esi
        step scratch-qwen-0.5b --config configs/model/qwen2.5-0.5b.json --dtype bf16 --batch 4 --seq 1024
        step qlora-7b --config configs/model/qwen2.5-7b.json --dtype bf16 --lora 16 --base nf4 --checkpointing --batch 1 --seq 4096
        step qlora-7b-offload --config configs/model/qwen2.5-7b.json --dtype bf16 --lora 16 --base nf4 --checkpointing --offload --batch 1 \
            --seq 4096
        step lora-7b --config configs/model/qwen2.5-7b.json --dtype bf16 --lora 16 --base bf16 --checkpointing --batch 1 --seq 4096
        step qlora-moonlight --config configs/model/moonlight.json --dtype bf16 --lora 8 --router --base nf4 --checkpointing --batch 1 \
            --seq 4096 --incentive rd_esi
        for form in nf4 q4 bf16; do
            figure "decode-$form" "$build/bench_generate" configs/model/qwen2.5-$size.json 5 0 512 64 --device cuda \
                --random $form --json --profile
        done
        ;;
    peers)
        : >"$out/peers.jsonl"
        python3 bench/peers/cuda_lora.py configs/model/qwen2.5-7b.json 1x4096 5 2>"$out/peers.err" | tee -a "$out/peers.jsonl" ||
            tail -2 "$out/peers.err"
        if python3 -c 'import bitsandbytes' 2>/dev/null; then
            python3 bench/peers/cuda_lora.py configs/model/qwen2.5-7b.json 1x4096 5 nf4 2>"$out/peers.err" | tee -a "$out/peers.jsonl"
        fi
        python3 bench/peers/cuda_generate.py configs/model/qwen2.5-7b.json 2>"$out/peers.err" | tee -a "$out/peers.jsonl" ||
            tail -2 "$out/peers.err"
        ;;
    esac
done
exit $failed
