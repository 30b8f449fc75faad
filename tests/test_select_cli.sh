#!/usr/bin/env bash
# moe2 select from outside: answers that can be counted by hand, every form of input, and what bad input is told.
#   test_select_cli.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# says NAME PATTERN WORDS…: moe2 select WORDS succeeds and its output has the pattern.
says() {
    local name=$1 pattern=$2
    shift 2
    passes "$name" "$moe2" select "$@"
    tr -d ' \n' <check.out >flat
    passes "$name: $pattern in $(cat flat)" grep -qF -- "$pattern" flat
}

# fails NAME STATUS MESSAGE WORDS…: moe2 select WORDS is refused with that line alone.
fails() {
    refused_alone "$1" "$2" "moe2 select: $3" timeout 60 "$moe2" select "${@:4}"
}

# A float32 array of ROWS x COLUMNS from decimal numbers, by hand: no Python here.
npy() { # FILE ORDER ROWS COLUMNS NUMBERS…
    local file=$1 order=$2 shape="$3, $4" header n hex e f x
    shift 4
    header="{'descr': '<f4', 'fortran_order': $order, 'shape': ($shape), }"
    n=$((118 - ${#header} - 1))
    header="$header$(printf '%*s' $n '')"
    {
        printf '\x93NUMPY\x01\x00\x76\x00%s\n' "$header"
        for x in "$@"; do
            case $x in # bits of float32
            0) hex=00000000 ;; 0.25) hex=3e800000 ;; 0.5) hex=3f000000 ;; 0.75) hex=3f400000 ;; 1) hex=3f800000 ;;
            2) hex=40000000 ;; 3) hex=40400000 ;; -1) hex=bf800000 ;; nan) hex=7fc00000 ;; inf) hex=7f800000 ;;
            esac
            printf "\x${hex:6:2}\x${hex:4:2}\x${hex:2:2}\x${hex:0:2}"
        done
    } >"$file"
}

cat >o.csv <<'CSV'
question_id,category,a,b,c
1,x,1,0,0
2,x,0,1,1
3,y,0,1,
4,y,1,0,1
CSV
npy g.npy False 4 3  3 2 1  1 3 2  1 2 3  3 1 2
npy gf.npy True 4 3  3 1 1 3  2 3 2 1  1 2 3 2
cat >l.json <<'JSON'
{"a": {"fit": {"t0": 0.5, "prefill": 0, "decode": 0}}, "b": {"unit": "ms", "fit": {"t0": 1000, "prefill": 0, "decode": 0.5}},
 "c": {"unit": "s", "fit": {"t0": 2, "prefill": 0.001, "decode": 0}}, "d": {"unit": "h"}}
JSON
cat >e.json <<'JSON'
{"a": {"fit": {"t0": 1, "prefill": 0, "decode": 0}}, "b": {"unit": "mJ", "fit": {"t0": 2000, "prefill": 0, "decode": 0}},
 "c": {"unit": "J", "fit": {"t0": 4, "prefill": 0, "decode": 0}}}
JSON
base=(--outcomes o.csv --gate-scores g.npy --json)
costs=(--latency l.json --energy e.json --prompt-tokens 100 --output-tokens 10)

says "without limits a and b answer all of it" '"subset":["a","b"],"indices":[0,1],"correct":4,"accuracy":1,' "${base[@]}" "${costs[@]}"
says "its costs" '"latency_s":1.005,"energy_j":3,"certificate":{"optimal":true,"upper_bound":1,"evaluated":7}' "${base[@]}" "${costs[@]}"
says "a limit is met exactly" '"latency_limit_s":1.005,"energy_limit_j":3,"feasible":true,"subset":["a","b"]' "${base[@]}" "${costs[@]}" --latency-s 1.005 --energy-j 3
says "how many subsets fit" '"feasible_subsets":3}' "${base[@]}" "${costs[@]}" --latency-s 1.005 --energy-j 3
says "or not" '"energy_limit_j":2.999999,"feasible":true,"subset":["a"],"indices":[0],"correct":2' "${base[@]}" "${costs[@]}" --energy-j 2.999999
says "nothing fits" '"feasible":false,"subset":[],"indices":[],"correct":null,"accuracy":null,"latency_s":null,"energy_j":null,"certificate":{"optimal":true,"upper_bound":null,' "${base[@]}" "${costs[@]}" --energy-j 0.5
says "and none of the baselines does" '"best_single":null,"greedy":null,' "${base[@]}" "${costs[@]}" --energy-j 0.5
says "the grid has latency outermost" '"latency_limit_s":0.5,"energy_limit_j":null' "${base[@]}" "${costs[@]}" --latency-s 0.5,inf --energy-j 0,inf
says "float64 or Fortran order reads the same" '"subset":["a","b"],"indices":[0,1],"correct":4' --outcomes o.csv --gate-scores gf.npy --json
says "enumerated, the same" '"subset":["a","b"],"indices":[0,1],"correct":4' "${base[@]}" "${costs[@]}" --method enumerate
says "routed charges what is called" '"correct":4,"accuracy":1,"latency_s":0.7525,"energy_j":1.5' "${base[@]}" "${costs[@]}" --cost routed
says "coverage needs no gate" '"subset":["a","b"],"indices":[0,1],"correct":4' --outcomes o.csv --objective coverage --json
says "numbers stay those of the file" '"experts":["b","c"],"prompts":4' "${base[@]}" --experts c,b
says "numbers stay those of the file, indices too" '"indices":[1,2]' "${base[@]}" --experts c,b
says "dropped prompts are not counted" '"prompts":3' "${base[@]}" --missing drop
says "whom a prompt was not run on may be avoided" '"missing":"avoid"' "${base[@]}" --missing avoid
says "categories alone" '"by_category":[{"category":"x","prompts":2,"results":[{' "${base[@]}" --by-category
says "the frontier" '"frontier":{"complete":true,"points":[{"subset":["a"],"indices":[0],"correct":2,' "${base[@]}" "${costs[@]}" --frontier
printf 'category,latency_s,energy_j\nx,0.9,\ny,,3\n' >cl.csv
says "limits of categories" '"categories":[{"category":"x","prompts":2,"correct":1,"accuracy":0.5,"latency_s":0.5,"energy_j":3},{"category":"y"' "${base[@]}" "${costs[@]}" --category-limits cl.csv
printf 'question_id,a,b,c\n1,A,B,B\n2,C,D,D\n3,A,B,\n4,A,C,A\n' >p.csv
says "votes by answer" '"combine":"vote","k":3' "${base[@]}" --k 3 --combine vote --predictions p.csv
"$moe2" select --outcomes o.csv --gate-scores g.npy --k 3 --combine vote >stdout || fault "votes as a table"
grep -q 'lower bound' stdout || fault "votes by outcome are not called a lower bound"
"$moe2" select "${base[@]}" "${costs[@]}" --out res >stdout || fault "--out"
for f in select.json select.csv select.md; do [ -s res/$f ] || fault "--out wrote no $f"; done
grep -v timing -A3 stdout >/dev/null && cmp -s <(grep -v _s\" stdout) <(grep -v _s\" res/select.json) || fault "select.json is not what --json printed"
printf 'category,latency_s,energy_j\nz,1,\n' >cz.csv
"$moe2" select "${base[@]}" "${costs[@]}" --category-limits cz.csv >stdout 2>stderr || fault "a category without prompts"
grep -q 'category "z" has no prompt' stderr || fault "a category without prompts is not warned of"

# A category alone is what a file of its rows alone gives.
"$moe2" select "${base[@]}" "${costs[@]}" --by-category --energy-j 3,inf >both || fault "by category"
grep -E '^question|,y,' o.csv >y.csv
npy gy.npy False 2 3  1 2 3  3 1 2
"$moe2" select --outcomes y.csv --gate-scores gy.npy --json "${costs[@]}" --energy-j 3,inf >alone || fault "a category's rows"
flat() { tr -d ' \n' <"$1" | sed -E 's/"evaluated":[0-9]+/"evaluated":0/g'; }
mine=$(flat alone | grep -oE '"results":\[.*\],"timing' | sed 's/,"timing//')
[[ -n $mine && $(flat both) == *"$mine"* ]] || fault "a category alone differs from its rows alone"

# Lengths: rows by id in any order, an expert's mean where nothing was run.
printf 'question_id,a,b,c\n4,1,2,10\n3,1,2,\n2,1,2,21\n1,1,2,10\n' >len.csv
says "an empty length where nothing was run is the mean" '"indices":[0,1,2],"correct":3,"accuracy":0.75,"latency_s":2.01375' \
    "${base[@]}" --latency l.json --prompt-tokens len.csv --output-tokens 0

fails "no outcomes" 2 "--outcomes is missing (see --help)" --gate-scores g.npy
fails "no gate" 2 "--gate-scores is missing (see --help)" --outcomes o.csv
fails "no file" 1 "none.csv: can't be opened: No such file or directory" --outcomes none.csv --gate-scores g.npy
: >empty.csv
fails "an empty file" 1 "empty.csv: has no header row" --outcomes empty.csv --gate-scores g.npy
printf 'question_id,a\n1,B\n' >bad.csv
fails "a letter" 1 'bad.csv:2: column "a" is "B", wanted 1, 0 or nothing' --outcomes bad.csv --gate-scores g.npy
printf 'question_id,a\n1,1\n1,1\n' >bad.csv
fails "a row twice" 1 'bad.csv:3: column "question_id" is "1", wanted every id once' --outcomes bad.csv --gate-scores g.npy
npy g2.npy False 2 3 1 1 1 1 1 1
fails "another shape" 1 "g2.npy: is of shape [2, 3], wanted [4, 3], the prompts and experts of o.csv" --outcomes o.csv --gate-scores g2.npy
npy gn.npy False 4 3  3 2 1  1 nan 2  1 2 3  3 1 2
fails "NaN" 1 'gn.npy: row 1, column 1 ("b") is nan, wanted a finite float32' --outcomes o.csv --gate-scores gn.npy
npy gm.npy False 4 3  3 2 1  1 -1 2  1 2 3  3 1 2
fails "a negative weight" 1 'gm.npy: row 1, column 1 ("b") is -1, wanted scores of at least 0 for --combine weighted' --outcomes o.csv --gate-scores gm.npy --combine weighted
echo '{"a": {"fit": {"t0": 1, "prefill": 0, "decode": 0}}}' >bad.json
fails "an expert without costs" 1 'bad.json: has no expert "b"' "${base[@]}" --latency bad.json
echo '{"a": {"fit": {"t0": -1, "prefill": 0, "decode": 0}}}' >bad.json
fails "a negative cost" 1 'bad.json: "a": t0 is -1*' "${base[@]}" --energy bad.json
echo '{"a": {"unit": "J", "fit": {"t0": 1, "prefill": 0, "decode": 0}}}' >bad.json
fails "another unit" 1 'bad.json: "a": unit is "J", wanted s or ms' "${base[@]}" --latency bad.json
echo '{"a": {"fit": {"t0": 2e6, "prefill": 0, "decode": 0}}, "b": {"fit": {"t0": 1, "prefill": 0, "decode": 0}}, "c": {"fit": {"t0": 1, "prefill": 0, "decode": 0}}}' >bad.json
fails "a cost beyond measure" 1 'an answer of "a" (0 prompt tokens, 0 output tokens) costs 2e+06 s, wanted at most 1e+06' "${base[@]}" --latency bad.json
fails "a length that is nowhere" 2 'the cost of "b" grows with a length that is nowhere given: --output-tokens, or a column output_tokens in the outcomes' "${base[@]}" --latency l.json
printf 'question_id,a,b,c\n4,1,,10\n3,1,2,\n2,1,2,21\n1,1,2,10\n' >len2.csv
fails "an empty length where something was run" 1 'len2.csv: question_id "4" has no length for "b", which answered it: wanted a number of tokens (--output-tokens)' "${base[@]}" --latency l.json --prompt-tokens 1 --output-tokens len2.csv
fails "a limit without costs" 2 "--latency-s has the limit 1, which needs --latency" "${base[@]}" --latency-s 1
fails "a negative limit" 2 '--energy-j has "-1", wanted numbers of at least 0, or inf, with commas between' "${base[@]}" --energy-j -1
fails "no limit" 2 '--energy-j has "", wanted numbers of at least 0, or inf, with commas between' "${base[@]}" --energy-j 1,,2
fails "an unknown expert" 2 '--experts: o.csv has no "d", did you mean "a"?' "${base[@]}" --experts a,d
fails "an expert twice" 2 '--experts names "a" twice, wanted once' "${base[@]}" --experts a,a
fails "top1 of two" 2 "--combine top1 calls one expert, and --k is 2: wanted --combine vote or weighted" "${base[@]}" --k 2
fails "coverage routed" 2 "--objective coverage goes with --cost deployed only" "${base[@]}" --objective coverage --cost routed
fails "another word" 2 '--cost is "free", wanted deployed or routed' "${base[@]}" --cost free
fails "no members" 2 "--max-experts is 0, wanted at least 1" "${base[@]}" --max-experts 0
fails "a flag" 2 "unknown option --budget (see --help)" "${base[@]}" --budget 3
printf 'question_id,a,b\n1,,1\n2,1,\n' >gaps.csv
npy gg.npy False 2 2 1 1 1 1
fails "all dropped" 1 "gaps.csv: --missing drop leaves no prompt of 2: each has an empty cell in some expert of the run" --outcomes gaps.csv --gate-scores gg.npy --missing drop
fails "no categories" 2 "--by-category needs a column category in gaps.csv" --outcomes gaps.csv --gate-scores gg.npy --by-category
{ printf 'id'; printf ',e%d' {1..200}; printf '\n1'; printf ',1%.0s' {1..200}; echo; } >many.csv
fails "200 experts" 1 "many.csv:1: 200 columns are experts, wanted 1 to 64" --outcomes many.csv --gate-scores g.npy
{ printf 'id'; printf ',e%d' {1..21}; printf '\n1'; printf ',1%.0s' {1..21}; echo; } >many.csv
fails "too many to enumerate" 2 "enumerating 21 experts, wanted at most 20" --outcomes many.csv --objective coverage --method enumerate

# The 29 real models: three limits, the same with and without a second look.
data=${MOE2_DATA:-$(cd "$(dirname "$0")/.." && pwd)/../shared/data}
if [ -f "$data/mmlu_pro/outcomes_correct.csv" ]; then
    says "29 models, at most 3 of them, by coverage" '"optimal":true' --outcomes "$data/mmlu_pro/outcomes_correct.csv" --objective coverage --max-experts 3 --json
else
    echo "skipped: no mmlu_pro/outcomes_correct.csv in \$MOE2_DATA or ../shared/data"
fi
finish
