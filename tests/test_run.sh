#!/usr/bin/env bash
# moe2 run, train, evaluate, train_eval, perplexity, route, export as a user types them: what lies in results/NAME, stopping and going on,
# refusals word for word. One argument: the program.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
export OMP_WAIT_POLICY=passive
json() { python3 -c "import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2]))" "$1" "$2"; }

# A text with some order in it, and a configuration small enough for a test.
awk 'BEGIN { srand(1); split("il la un una casa mare monte lago grande piccolo vede sente ama e", w, " ");
    for (i = 0; i < 1500; i++) { s = ""; for (j = 0; j < 8; j++) s = s w[int(rand() * 14) + 1] " "; print s "." } }' >text.txt
cat >tiny.yaml <<YAML
name: tiny
data: {text: [text.txt]}
model: {config: $here/configs/model/tiny.json, vocab_size: 258}
router: {incentive: rd_esi}
train: {steps: 12, batch_tokens: 128, sequence: 32, micro_batch: 2, eval_every: 4, save_every: 2, log_every: 4}
eval: {tokens: 512, test_tokens: 700, sample_tokens: 5}
YAML

# ---- a whole run ----
"$moe2" run --config_file tiny.yaml --mode train_eval >out.txt 2>&1 || fault "train_eval: $(tail -1 out.txt)"
r=results/tiny
for f in logs.txt config.yaml metrics.jsonl metrics.json checkpoints/best/model.safetensors checkpoints/best/config.json \
    checkpoints/last/router_state.safetensors checkpoints/last/optimizer.safetensors checkpoints/last/train_state.json figures; do
    [ -e "$r/$f" ] || fault "$r/$f is missing"
done
[ "$(grep -c '"grad_norm"' $r/metrics.jsonl)" = 12 ] || fault "metrics.jsonl has no line for each step"
[ "$(grep -c '"eval"' $r/metrics.jsonl)" = 3 ] || fault "metrics.jsonl has no line for each evaluation"
if command -v python3 >/dev/null; then
    [ "$(json $r/metrics.json 'd["router"], d["train"]["steps"], d["train"]["tokens"], d["test"]["tokens"]')" = \
        "('rd_esi', 12, 1536, 700)" ] || fault "metrics.json: $(json $r/metrics.json 'd["router"], d["train"], d["test"]')"
    [ "$(json $r/metrics.json '[k in d["routing"] for k in ("max_vio_batch", "max_vio_global", "load_variance",
        "load_cv", "load_entropy", "load_gini", "dead_experts", "drop_rate", "token_expert_mi", "domain_expert_mi",
        "matthew_load", "matthew_reputation", "top_tenth_share", "routing_share")].count(True)')" = 14 ] ||
        fault "metrics.json lacks a routing measure"
    [ "$(json $r/metrics.json '[len(d["validation"]["curve"]), len(d["routing"]["layers"]), len(d["token_types"]["names"]),
        d["samples"]["prompt"], len(d["config"]) > 60]')" = "[3, 2, 6, 'Il ', True]" ] || fault "metrics.json is not as agreed"
    python3 -c 'import json; [json.loads(l) for l in open("results/tiny/metrics.jsonl")]' || fault "metrics.jsonl is no JSON"
fi
"$moe2" evaluate --config tiny.yaml --checkpoint_path $r/checkpoints/last >out.txt 2>&1 || fault "evaluate: $(tail -1 out.txt)"

# ---- a finished run is not trained again; another configuration is refused; --restart begins anew ----
cp $r/checkpoints/last/model.safetensors straight.safetensors
grep -v step_s $r/metrics.jsonl >straight.evals
"$moe2" train --config tiny.yaml >out.txt 2>&1 || fault "a finished run: $(tail -1 out.txt)"
cmp -s straight.safetensors $r/checkpoints/last/model.safetensors || fault "a finished run was trained again"
refused "another configuration" 2 \
    "moe2 train: results/tiny was begun with train.lr = 0.003, now it is 0.01; give it another name, or --restart to begin anew" \
    "$moe2" train --config tiny.yaml --set train.lr=0.01
refused "nothing to evaluate" 2 \
    "moe2 evaluate: results/other has no checkpoint to evaluate; train it first, or say --checkpoint_path" \
    "$moe2" evaluate --config tiny.yaml --set name=other
refused "nothing to resume" 2 "moe2 train: results/other/checkpoints/last: there is no checkpoint to go on from" \
    "$moe2" train --config tiny.yaml --set name=other --resume
[ -e results/other ] && fault "a refusal left a folder"

# ---- one trainer a folder; who evaluates leaves alone what he writes ----
mkdir $r/checkpoints/last.tmp $r/checkpoints/best.tmp
exec 9<$r/run.pid
flock 9
echo $$ >$r/run.pid
"$moe2" evaluate --config tiny.yaml >out.txt 2>&1 || fault "evaluate beside a trainer: $(tail -1 out.txt)"
for words in "" --resume --restart; do
    # shellcheck disable=SC2086
    refused "a second trainer $words" 2 "moe2 train: $r is being worked on by process $$" "$moe2" train --config tiny.yaml $words
done
[ -d $r/checkpoints/last.tmp ] && [ -d $r/checkpoints/best.tmp ] || fault "what a trainer was writing is gone"
cmp -s straight.safetensors $r/checkpoints/last/model.safetensors || fault "a second trainer wrote over the first one's checkpoint"
exec 9<&-
"$moe2" train --config tiny.yaml >out.txt 2>&1 || fault "training where one died: $(tail -1 out.txt)"
[ -e $r/checkpoints/last.tmp ] || [ -e $r/checkpoints/best.tmp ] && fault "what a dead trainer left is still there"
"$moe2" train --config tiny.yaml --restart >out.txt 2>&1 || fault "--restart: $(tail -1 out.txt)"
[ -e $r/metrics.json ] && fault "--restart left the figures of the run before"
cmp -s straight.safetensors $r/checkpoints/last/model.safetensors || fault "--restart trained to other bits"
[ "$(grep -c '"grad_norm"' $r/metrics.jsonl)" = 12 ] || fault "--restart went on with the metrics of the run before"

# ---- Ctrl-C, then going on: the same bits as never stopping ----
"$moe2" train --config tiny.yaml --set train.steps=12 --set name=stopped >out.txt 2>&1 &
pid=$!
for _ in $(seq 200); do [ -e results/stopped/metrics.jsonl ] && [ "$(wc -l <results/stopped/metrics.jsonl)" -ge 2 ] && break; sleep 0.02; done
kill -INT $pid 2>/dev/null
wait $pid
status=$?
if grep -q "stopped after step" out.txt; then
    [ $status = 130 ] || fault "a stopped run returned $status, wanted 130"
    grep -q "^everything is saved; to go on: moe2 train --config tiny.yaml --set train.steps=12 --set name=stopped --resume$" out.txt ||
        fault "a stopped run did not say how to go on: $(cat out.txt)"
    "$moe2" train --config tiny.yaml --set train.steps=12 --set name=stopped --resume >out.txt 2>&1 || fault "resume: $(tail -1 out.txt)"
fi
cmp -s straight.safetensors results/stopped/checkpoints/last/model.safetensors || fault "a resumed run has other bits than a straight one"

# ---- kill -9 at random moments, going on each time: the same bits ----
for _ in 1 2 3 4 5 6; do
    "$moe2" train --config tiny.yaml --set name=killed >out.txt 2>&1 &
    pid=$!
    sleep 0.$((RANDOM % 4))$((RANDOM % 10))
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
done
"$moe2" train --config tiny.yaml --set name=killed >out.txt 2>&1 || fault "after kills: $(tail -1 out.txt)"
cmp -s straight.safetensors results/killed/checkpoints/last/model.safetensors || fault "a run killed again and again has other bits"
[ "$(grep -c '"grad_norm"' results/killed/metrics.jsonl)" = 12 ] || fault "a killed run's metrics.jsonl does not have each step once"
grep -v step_s results/killed/metrics.jsonl | sed 's/"seconds.*//' >killed.evals
sed 's/"seconds.*//' straight.evals | cmp -s - killed.evals || fault "a killed run's evaluations are not those of a straight one"

# ---- the commands on a checkpoint ----
head -c 3000 text.txt >some.txt
"$moe2" perplexity --model $r/checkpoints/best --text some.txt --window 50 --stride 7 --json >p.json || fault "perplexity"
"$moe2" route --model $r/checkpoints/best --text some.txt --json >route.json || fault "route"
"$moe2" route --model $r/checkpoints/best --text some.txt >/dev/null || fault "route as a table"
if command -v python3 >/dev/null; then
    [ "$(json p.json 'sorted(d), d["tokens"]')" = "(['bits_per_byte', 'nll', 'ppl', 'seconds', 'tokens'], 3000)" ] || fault "perplexity: $(cat p.json)"
    [ "$(json route.json 'd["tokens"], len(d["layers"]), d["matthew_reputation"] is not None')" = "(3000, 2, True)" ] || fault "route: $(cat route.json)"
fi
"$moe2" export --checkpoint $r/checkpoints/best --out exported >/dev/null 2>&1 || fault "export"
[ -e exported/model.safetensors ] && [ ! -e exported/router_state.safetensors ] || fault "export left the wrong files"
"$moe2" logits --model $r/checkpoints/best --ids 5,80,33,200,7 --out a.npy && "$moe2" logits --model exported --ids 5,80,33,200,7 --out b.npy &&
    cmp -s a.npy b.npy || fault "the exported folder gives other logits"
refused "export over something" 2 "moe2 export: exported is there already" "$moe2" export --checkpoint $r/checkpoints/best --out exported
"$moe2" train --config tiny.yaml --set name=raw --set router.normalise=false --set train.steps=2 >/dev/null 2>&1 || fault "training the raw variant"
"$moe2" export --checkpoint results/raw/checkpoints/last --out nowhere 2>err.txt >&2 && fault "the raw variant was exported"
grep -q "results/raw/checkpoints/last can't be exported: " err.txt || fault "the refusal of an export: $(cat err.txt)"
[ -e nowhere ] && fault "a refused export left something"
"$moe2" train_eval --config tiny.yaml --set name=choice --set router.incentive=none --set router.pick=expert_choice --set train.steps=3 >out.txt 2>&1 ||
    fault "expert choice: $(tail -1 out.txt)"
grep -q '"look_ahead"' results/choice/metrics.json || fault "expert choice has no look-ahead figure"

# ---- a load that counts nothing is warned about, where the incentive has one ----
warned() { # WANTED WORDS…
    local wanted=$1
    shift
    "$moe2" train --config tiny.yaml --restart --set name=queue train.steps=1 router.load=queue "$@" >out.txt 2>&1 || fault "$*: $(tail -1 out.txt)"
    [ "$(grep -c 'router.load: queue .* always 0 with one a step; train.micro_batch makes it several$' out.txt)" = "$wanted" ] ||
        fault "load: queue with $*: warned other than $wanted times"
}
warned 1 train.micro_batch=4
warned 0 train.micro_batch=3
warned 0 train.micro_batch=4 router.incentive=none

# ---- other ways of running: bf16 with recomputation, several windows over the test text, from a checkpoint ----
"$moe2" train_eval --config tiny.yaml --set name=half --set train.dtype=bf16 train.checkpoint_activations=true train.steps=3 \
    eval.window=64 eval.stride=24 >out.txt 2>&1 || fault "bf16: $(tail -1 out.txt)"
"$moe2" train_eval --config tiny.yaml --set name=from --set model.checkpoint=$r/checkpoints/best train.steps=3 >out.txt 2>&1 ||
    fault "training on from a checkpoint: $(tail -1 out.txt)"
if command -v python3 >/dev/null; then
    [ "$(json results/half/metrics.json 'd["test"]["tokens"], d["routing"]["tokens"]')" = "(700, 700)" ] ||
        fault "overlapping windows counted tokens twice: $(json results/half/metrics.json 'd["routing"]["tokens"]')"
    first=$(grep -m1 '"grad_norm"' results/from/metrics.jsonl | sed 's/.*"loss": *\([0-9.]*\).*/\1/')
    [ "$(python3 -c "print($first < 5)")" = True ] || fault "a model from a checkpoint begins with a loss of $first"
fi

# ---- words that are off ----
refused "no configuration" 2 "moe2 train: --config is missing (see --help)" "$moe2" train
refused "no such mode" 2 "moe2 run: --mode is \"test\", wanted train, evaluate or train_eval" "$moe2" run --config tiny.yaml --mode test
refused "no such file" 1 "moe2 train: nothing.yaml: can't be opened: No such file or directory" "$moe2" train --config nothing.yaml
refused "no such text" 1 "moe2 train: missing.txt: can't be opened: No such file or directory" "$moe2" train --config tiny.yaml --set name=m data.text=missing.txt
refused "a key that is none" 2 "moe2 train: train.warmpu is no key, did you mean train.warmup?" "$moe2" train --config tiny.yaml --set train.warmpu=3
refused "a vocabulary too small" 2 \
    "moe2 train: the text's tokenizer has 258 ids, but the model of $here/configs/model/tiny.json a vocabulary of 100; model.vocab_size can change it" \
    "$moe2" train --config tiny.yaml --set name=v --set model.vocab_size=100
refused "a window too long" 2 "moe2 perplexity: --window is 9999, wanted 1 to the model's max_position_embeddings, which is 512" \
    "$moe2" perplexity --model $r/checkpoints/best --text some.txt --window 9999
"$moe2" train --help-config | grep -q '^router.load_ema_alpha ' || fault "--help-config"

# ---- a disk that is full: one sentence, and what was there stays ----
if mkdir small && mount -t tmpfs -o size=3m tmpfs small 2>/dev/null; then
    "$moe2" train --config tiny.yaml --set results_dir=small --set train.save_every=1 >out.txt 2>&1 && fault "a full disk was not noticed"
    grep -q "^moe2 train: .*No space left on device" out.txt || fault "a full disk: $(tail -1 out.txt)"
    [ "$(grep -c 'No space left' out.txt)" -le 1 ] || fault "a full disk was told more than once"
    for d in small/tiny/checkpoints/*; do
        case $d in *.tmp | *.old) fault "a full disk left $d" ;; esac
    done
    [ -e small/tiny/checkpoints/last ] && { "$moe2" perplexity --model small/tiny/checkpoints/last --text some.txt --json >/dev/null ||
        fault "the checkpoint before the disk was full does not open"; }
    umount small
else
    echo "skipped: a full disk (no tmpfs can be mounted here)"
fi

# ---- NaN in a checkpoint's weights ----
if command -v python3 >/dev/null; then
    cp -r $r/checkpoints/best bad
    python3 - <<'PY'
import json, struct
b = bytearray(open("bad/model.safetensors", "rb").read())
n = struct.unpack("<Q", b[:8])[0]
at = json.loads(b[8:8 + n])["model.layers.1.self_attn.o_proj.weight"]["data_offsets"][0]
b[8 + n + at:8 + n + at + 4] = struct.pack("<f", float("nan"))
open("bad/model.safetensors", "wb").write(b)
PY
    "$moe2" perplexity --model bad --text some.txt --json 2>err.txt && fault "a NaN was not noticed"
    grep -q "model.layers.1.self_attn.o_proj.weight" err.txt || fault "a NaN: $(cat err.txt)"
fi

finish "test_run: all well"
