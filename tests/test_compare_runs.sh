#!/usr/bin/env bash
# moe2 compare and moe2 report on real runs: the smallest model, three routers, two seeds, a few steps on text made here.
set -u
moe2=$(realpath "$1")
source_dir=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
fail() { echo "FAIL: $*"; [ -f err ] && tail -5 err; exit 1; }

for i in $(seq 1 400); do echo "La riga numero $i parla di $((i * 7919 % 1000)) cose, e la $((i % 13)) di altre."; done >text.txt
for router in none loss_free rd_esi; do
    cat >"$router.yaml" <<END
name: $router
data: {text: [text.txt]}
model: {config: $source_dir/configs/model/tiny.json, vocab_size: 258}
router: {incentive: $router}
train: {steps: 4, batch_tokens: 128, sequence: 32, eval_every: 2, log_every: 1}
eval: {tokens: 256, test_tokens: 256, sample_tokens: 4}
END
done
configs="none.yaml loss_free.yaml rd_esi.yaml"
compare() { "$moe2" compare --configs $configs --seeds 2 "$@"; }

# every router is trained, the table says so, the page needs no network
compare --out a >out 2>err || fail "compare ended with $?"
grep -q '^rd_esi  *2 ' out || fail "no row of rd_esi with two seeds"
grep -q 'seeds, paired 95 %' out || fail "no finding"
[ -s a/report.html ] || fail "no report.html"
grep -qE 'https?:|<script|src=' a/report.html && fail "the page points outside"

# under one seed all routers begin alike: the loss of the first step is the same to the last digit, and another seed's is not
first() { head -1 "a/runs/$1/metrics.jsonl" | sed -E 's/.*"loss": ?([0-9.]+).*/\1/'; }
for seed in 1 2; do
    for router in loss_free rd_esi; do
        [ "$(first none-s$seed)" = "$(first $router-s$seed)" ] || fail "$router begins elsewhere than none under seed $seed"
    done
done
[ "$(first none-s1)" != "$(first none-s2)" ] || fail "two seeds begin alike"

# nothing is repeated
before=$(stat -c %Y.%s a/runs/*/metrics.json)
sleep 1
compare --out a >out 2>err || fail "the second compare ended with $?"
grep -q '6 of 6 runs are finished already' err || fail "runs were repeated"
[ "$before" = "$(stat -c %Y.%s a/runs/*/metrics.json)" ] || fail "metrics.json was written again"

# a comparison of more than routers is refused by key
sed 's/steps: 4/steps: 6/' none.yaml >longer.yaml
"$moe2" compare --configs rd_esi.yaml longer.yaml --out b >out 2>err && fail "a mix was taken"
grep -q 'differ in train' err || fail "the key is not named"
[ -e b ] && fail "a refused comparison left a folder"

# stopped by Ctrl-C it saves and goes on
"$moe2" compare --configs $configs --seeds 2 --out c --set train.steps=4000 >out 2>err &
pid=$! # of moe2 itself, not of a shell around it
for _ in $(seq 600); do [ -s c/runs/none-s1/metrics.jsonl ] && break; sleep 0.1; done
kill -INT $pid
wait $pid
[ $? = 130 ] || fail "a stopped compare did not end with 130"
grep -q 'the same command goes on' err || fail "it does not say how to go on"
[ -f c/runs/none-s1/checkpoints/last/model.safetensors ] || fail "the stopped run has no checkpoint"
"$moe2" compare --status c | grep -q 'none .* 0 of 2 finished; run 1 at step' || fail "no status of the stopped run"

# in the background it goes on without the terminal
compare --out d --background >out 2>err || fail "--background ended with $?"
grep -q 'at work as process' out || fail "no process is named"
for _ in $(seq 1500); do [ -s d/report.html ] && break; sleep 0.1; done
[ -s d/report.html ] || { cat d/compare.log; fail "the background comparison made no report"; }
"$moe2" compare --status d | grep -q 'rd_esi .* 2 of 2 finished' || fail "no status of the background comparison"

# a report can be made again, of a comparison and of a run; a broken metrics.json is named
"$moe2" report d d/runs/rd_esi-s1 >out 2>err || fail "report ended with $?"
[ -s d/runs/rd_esi-s1/report.html ] || fail "no report of a run"
echo '{"test": ' >d/runs/none-s2/metrics.json
"$moe2" report d/runs/none-s2 >out 2>err && fail "a broken metrics.json was taken"
grep -q 'none-s2/metrics.json' err || fail "the broken file is not named"
"$moe2" report d >out 2>err || fail "one broken run spoils the comparison"
grep -q 'a run is left out: .*none-s2/metrics.json' err || fail "the run that is left out is not named"

# a single run ends with its own report
"$moe2" train_eval --config none.yaml --set results_dir=single >out 2>err || fail "train_eval ended with $?"
[ -s single/none/report.html ] || fail "train_eval made no report"
echo "compare and report: all well"
