#!/usr/bin/env bash
# moe2 finetune and merge as a user types them: f32, bf16 and NF4 bases, examples and text, going on with the same bits, the plan, the
# refusals, adapters read by logits, grad and perplexity. One argument: the program.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
export OMP_WAIT_POLICY=passive
fails() { # NAME STATUS WORDS_OF_THE_MESSAGE COMMAND…
    refused "$1" "$2" "*$3*" "${@:4}"
}

"$moe2" init --config "$here/configs/model/tiny.json" --out base --seed 3 >/dev/null 2>&1 || fault "init"
for i in $(seq 1 120); do
    echo "{\"prompt\": \"Quanto fa $i piu $((i % 7))?\", \"completion\": \" $((i + i % 7))\"}"
    echo "{\"question\": \"Il doppio di $i?\", \"choices\": [\"$((2 * i))\", \"$i\"], \"answer\": 0}"
    echo "{\"instruction\": \"Ripeti\", \"input\": \"$i\", \"output\": \"$i\"}"
done >examples.jsonl
cat >f.yaml <<YAML
name: t
base: {path: base, dtype: f32}
lora: {r: 4, alpha: 8, dropout: 0.1, target_modules: [all-linear, mlp.gate], rank_pattern: ["experts.[0-3].down_proj=2"]}
data: {examples: examples.jsonl}
train: {steps: 6, batch_tokens: 256, sequence: 64, micro_batch: 2, lr: 0.01, warmup: 1, eval_every: 3, threads: 1}
YAML

# ---- the plan alone ----
"$moe2" finetune --config f.yaml --dry-run >plan.txt 2>/dev/null || fault "--dry-run"
for words in "mlp.experts.\*.down_proj .* r 2-4" "mlp.gate .* r 4" "^peak " "360 examples\|342 examples"; do
    grep -q "$words" plan.txt || fault "the plan does not say \"$words\""
done
[ -e results ] && fault "--dry-run wrote results"
"$moe2" finetune --config f.yaml --dry-run base.dtype=nf4 >plan.txt 2>/dev/null || fault "--dry-run of nf4"
grep -q "mlp.experts.\*.up_proj .* nf4" plan.txt || fault "the plan of an NF4 base says not what is quantised"
grep -q "mlp.gate  .* f32" plan.txt || fault "the plan says not that the router is in float32"

# ---- a whole run, and the same one in two halves: the same bits ----
"$moe2" finetune --config f.yaml >out.txt 2>&1 || fault "finetune: $(tail -1 out.txt)"
for f in adapter/adapter_config.json adapter/adapter_model.safetensors checkpoints/last/optimizer.safetensors logs.txt metrics.jsonl; do
    [ -e "results/t/$f" ] || fault "results/t/$f is missing"
done
[ -e results/t/checkpoints/last/model.safetensors ] && fault "a checkpoint of adapters holds the whole model"
mv results/t/adapter kept
"$moe2" finetune --config f.yaml >out.txt 2>&1 || fault "a finished run without its adapter: $(tail -1 out.txt)"
diff -r kept results/t/adapter >diff.txt 2>&1 || fault "a run that died before its adapter was in place: $(head -1 diff.txt)"
cat >half.yaml <<YAML
$(sed 's/name: t/name: h/' f.yaml)
YAML
"$moe2" finetune --config half.yaml train.save_every=1 >out.txt 2>&1 &
pid=$!
for _ in $(seq 600); do
    [ -e results/h/checkpoints/last/train_state.json ] && break
    sleep 0.05
done
kill -INT $pid 2>/dev/null
wait $pid
"$moe2" finetune --config half.yaml train.save_every=1 >out.txt 2>&1 || fault "going on: $(tail -1 out.txt)"
for f in adapter_model.safetensors optimizer.safetensors; do
    cmp -s results/t/checkpoints/last/$f results/h/checkpoints/last/$f || fault "a run that went on has another $f"
done
"$moe2" train --config f.yaml name=r >out.txt 2>&1 || fault "train with base.path: $(tail -1 out.txt)"
cmp -s results/t/checkpoints/last/adapter_model.safetensors results/r/checkpoints/last/adapter_model.safetensors ||
    fault "moe2 train is another run than moe2 finetune"

# ---- other bases, optimizers, routers ----
for words in base.dtype=bf16 base.dtype=nf4 "base.dtype=nf4 train.optimizer=adamw8bit train.checkpoint_activations=true" \
    "lora.router=trained router.incentive=rd_esi" "train.dtype=bf16 lora.rslora=true"; do
    # shellcheck disable=SC2086
    "$moe2" finetune --config f.yaml --restart name=o $words >out.txt 2>&1 || fault "$words: $(tail -1 out.txt)"
    grep -q '"grad_norm":0,' results/o/metrics.jsonl && fault "$words: nothing is trained"
done

# ---- the adapter on the model, and merged into it ----
A=results/t/adapter
ids=5,17,99,203,64,30
"$moe2" logits --model base --adapter $A --ids $ids --out with.npy >/dev/null 2>&1 || fault "logits --adapter"
"$moe2" logits --model base --ids $ids --out without.npy >/dev/null 2>&1 || fault "logits"
cmp -s with.npy without.npy && fault "the adapter changes nothing"
"$moe2" merge --model base --adapter $A --out merged --dtype f32 >/dev/null 2>&1 || fault "merge"
"$moe2" logits --model merged --ids $ids --out merged.npy >/dev/null 2>&1 || fault "logits of the merged model"
if command -v python3 >/dev/null && python3 -c 'import numpy' 2>/dev/null; then
    python3 -c 'import numpy as n; a, b = n.load("with.npy"), n.load("merged.npy"); e = abs(a - b).max() / abs(b).max(); assert e < 1e-4, e' ||
        fault "the merged model is another model"
fi
"$moe2" grad --model base --adapter $A --ids $ids --out g.safetensors >out.txt 2>&1 || fault "grad --adapter: $(tail -1 out.txt)"
head -c 300 g.safetensors | grep -q "lora_A" || fault "grad --adapter gives no gradients of adapters"
seq 1 300 >text.txt
"$moe2" perplexity --model base --adapter $A --text text.txt --tokenizer bytes >out.txt 2>&1 || fault "perplexity --adapter: $(tail -1 out.txt)"

# ---- plain text, judged on the base with the adapter ----
"$moe2" train_eval --config f.yaml name=p data.examples= data.text=text.txt eval.sample_tokens=0 eval.tokens=64 base.dtype=nf4 \
    --no-report >out.txt 2>&1 || fault "train_eval on text: $(tail -1 out.txt)"
[ -s results/p/metrics.json ] || fault "train_eval wrote no metrics.json"

# ---- refusals ----
fails "a pattern without a module" 2 '"k_proj" matches no module' "$moe2" finetune --config f.yaml name=x lora.target_modules=k_proj
fails "too little memory" 1 "try " "$moe2" finetune --config f.yaml name=x train.memory_gb=0.004
fails "no base" 2 "base.path is not given" "$moe2" finetune --config f.yaml name=x base.path= data.examples= data.text=text.txt
fails "a rule" 2 "wanted PATTERN=NUMBER" "$moe2" finetune --config f.yaml name=x lora.rank_pattern=down_proj
fails "another router" 2 "lora.r = 4" "$moe2" finetune --config f.yaml lora.r=5
echo '{"prompt": "a"}' >bad.jsonl
fails "a line without an answer" 1 "bad.jsonl:1: has none of" "$moe2" finetune --config f.yaml name=x data.examples=bad.jsonl
fails "merging into what is there" 2 "is there already" "$moe2" merge --model base --adapter $A --out merged
fails "no adapter" 1 "adapter_config.json" "$moe2" logits --model base --adapter base --ids 1 --out x.npy
fails "judging examples" 2 "no test text" "$moe2" train_eval --config f.yaml name=q --no-report
finish "all passed"
