#!/usr/bin/env bash
# Encoding and BPE training, ours beside the peers, each in processes of its own, alternating.
#   bench/tokenizer.sh [--rounds 5] [--passes 5] [--data ../shared/data] [--only encode|train] [--clock wall|cpu]
#                      [--vocab qwen2|deepseek_v3] [--text novel|web|web_docs] [--keep FILE]
# Needs the shared data (tokenizers/qwen2, tokenizers/deepseek_v3, promessi_sposi, clean_mc4_it). Prints medians, ratios, versions,
# threads, and whether the ids are those of HF tokenizers. --clock cpu counts CPU time of one thread, for a
# machine that others use too, and does not wait for it to be free. --keep adds the raw lines to FILE and prints the tables of
# all that it holds, so that a long measurement can be made of short runs.
set -eu
cd "$(dirname "$0")/.."
rounds=5 passes=5 data=${MOE2_DATA:-../shared/data} only= clock=wall keep= only_text= vocabs='qwen2 deepseek_v3'
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 ;; --passes) passes=$2 ;; --data) data=$2 ;; --only) only=$2 ;; --clock) clock=$2 ;;
    --vocab) vocabs=$2 ;; --text) only_text=$2 ;; --keep) keep=$2 ;;
    *) echo "bench/tokenizer.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
venv=${MOE2_TOKENIZER_VENV:-$HOME/.cache/moe2/tokpeers}
python=$venv/bin/python
if ! "$python" -c 'import tokenizers, tiktoken, gigatoken, fastokens, quicktok, bpe_qwen, rustbpe, gigabpe' 2>/dev/null; then
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install -q -r bench/peers/tokenizer_requirements.txt >&2
fi
lock=${MOE2_LOCK:-/tmp/moe2.lock}
work=$(mktemp -d)
out=${keep:-$work/out}
trap 'rm -rf "$work"' EXIT
novel=$data/promessi_sposi/promessi_sposi.txt
"$python" - "$data/clean_mc4_it/sample.csv" "$work" <<'PY'
import csv, sys
csv.field_size_limit(1 << 30)
rows = [r["text"].replace("\0", "") for r in csv.DictReader(open(sys.argv[1], encoding="utf-8", newline=""))]
open(sys.argv[2] + "/web", "w", encoding="utf-8", newline="").write("\n".join(rows))
open(sys.argv[2] + "/web_docs", "w", encoding="utf-8", newline="").write("\0".join(rows))
PY
cp "$novel" "$work/novel"

# Runs a command alone on the machine and notes its JSON line with what it was about.
note() { # fields, command...
    local fields=$1
    shift
    if [ "$clock" = wall ]; then set -- flock -x "$lock" "$@"; fi
    "$@" >"$work/line" 2>/dev/null && sed "s/^{/{$fields, /" "$work/line" >>"$out" || true
}

for r in $(seq "$rounds"); do
    for vocab in $vocabs; do
        for job in "novel 1" "web 1" "web_docs 2"; do
            read -r text threads <<<"$job"
            [ "${only_text:-$text}" = "$text" ] || continue
            [ "$only" = train ] || [ "$clock $threads" = "cpu 2" ] && continue
            fields="\"what\": \"encode\", \"vocab\": \"$vocab\", \"text\": \"$text\""
            note "$fields" build/release/bench_tokenizer "$data/tokenizers/$vocab" "$work/$text" "$passes" "$threads" "$clock"
            for engine in tokenizers tiktoken gigatoken fastokens quicktok-v1 bpe-qwen; do
                note "$fields" "$python" bench/peers/tokenizer.py encode "$engine" "$data/tokenizers/$vocab" "$work/$text" "$passes" "$threads" "$clock"
            done
        done
    done
    for threads in 1 2; do
        [ "$only" = encode ] || [ "$clock $threads" = "cpu 2" ] && continue
        fields="\"what\": \"train\", \"text\": \"novel\""
        note "$fields" build/release/bench_bpe_train "$work/novel" 8192 "$threads" "$clock"
        for engine in tokenizers rustbpe gigabpe; do
            note "$fields" "$python" bench/peers/tokenizer.py train "$engine" "$work/novel" 8192 "$threads" "$clock"
        done
    done
done
"$python" bench/peers/tokenizer_table.py "$out"
