#!/usr/bin/env bash
# moe2 inspect, convert and quantize from the outside: models and tokenizers go from folder to GGUF and back unchanged, a killed
# quantisation goes on, and one sentence for what can't be done.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
fixtures=$source/tests/fixtures
golden=$source/tests/golden
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

# fails STATUS MESSAGE WORDS…: moe2 WORDS
fails() { refused "${*:3}" "$1" "moe2 $3: $2" "$moe2" "${@:3}"; }
run() { "$moe2" "$@" >out.txt 2>err.txt || fault "$*: $(tail -1 err.txt)"; }

for c in inspect convert quantize; do
    "$moe2" $c --help | grep -q '^example:' || fault "$c --help has no example"
done

# ---- models there and back ----
for v in v3 v3_plain moonlight v2_lite v2 llama llama_tied qwen2 qwen3; do
    model=$fixtures/model_$v
    run convert --in "$model" --out $v.gguf --type f32
    run convert --in $v.gguf --out $v.back --type f32
    i=0
    for m in "$model" $v.gguf $v.back; do
        run logits --model "$m" --ids 3,7,11,2,5,46 --out $i.npy
        i=$((i + 1))
    done
    cmp -s 0.npy 1.npy || fault "$v: the GGUF file gives other logits"
    cmp -s 0.npy 2.npy || fault "$v: the folder made of the GGUF file gives other logits"
done
run grad --model v3.gguf --ids 1,2,3,4 --out g.safetensors
run convert --in "$fixtures/model_v3" --out half --type bf16
run convert --in half --out half.gguf
run logits --model half --ids 3,7,11 --out a.npy
run logits --model half.gguf --ids 3,7,11 --out b.npy
cmp -s a.npy b.npy || fault "bf16 in GGUF gives other logits than bf16 in a folder"

# ---- quantisation ----
"$moe2" init --config "$source/configs/model/tiny.json" --out tiny --seed 1 >/dev/null 2>&1
run quantize --method nf4 --in tiny --out nf4 --report
grep -q 'bits a value' out.txt || fault "quantize says nothing of the size: $(tail -1 out.txt)"
grep -q 'mlp.experts.0.gate_proj.weight *F32 *NF4 .* 0\.09[0-9]*$' out.txt || fault "nf4's error is not about 0.09: $(grep experts.0.gate out.txt | head -1)"
grep -q '"load_in_4bit": true' nf4/config.json || fault "nf4/config.json does not say how it is quantised"
run logits --model nf4 --ids 1,2,3 --out n.npy
run convert --in nf4 --out nf4.wide --type f32
run logits --model nf4.wide --ids 1,2,3 --out w.npy
cmp -s n.npy w.npy || fault "NF4 and what it stands for give other logits"
for method in q8_0 q4_0; do
    run quantize --method $method --in tiny --out $method.gguf --json --report
    grep -q '"relative_error"' out.txt || fault "$method: no errors in the report"
    run logits --model $method.gguf --ids 1,2,3 --out q.npy
    run inspect $method.gguf
    grep -qi "ffn_down_exps.weight *$method" out.txt || fault "$method: the experts are not: $(grep ffn_down_exps out.txt | head -1)"
done
[ ! -e q8_0.gguf.parts ] || fault "parts are left behind"

for seed in 1 1 2; do
    mv made/model.safetensors before.safetensors 2>/dev/null
    run init --config "$source/configs/model/tiny.json" --out made --seed $seed --dtype nf4
    [ "$(stat -c %s made/model.safetensors)" = "$(stat -c %s nf4/model.safetensors)" ] ||
        fault "init --dtype nf4 holds other tensors than quantize makes"
    [ ! -e before.safetensors ] || cmp -s before.safetensors made/model.safetensors
    echo $? >>same.txt
done
[ "$(tr '\n' ' ' <same.txt)" = "0 0 1 " ] || fault "init --dtype nf4 does not depend on its seed alone"
run logits --model made --ids 1,2,3 --out n.npy
run quantize --method q8_0 --in made --out made.gguf --report

# a run that dies of a full disk goes on, and gives the same file
for limit in 40 120; do
    (ulimit -f $limit && trap '' XFSZ && "$moe2" quantize --method q8_0 --in tiny --out again.gguf >/dev/null 2>&1) && fault "a file of $limit KB held the model"
    [ -e again.gguf ] && fault "half a file is there"
done
[ -n "$(ls again.gguf.parts 2>/dev/null)" ] || fault "nothing was kept of the run that died"
run quantize --method q8_0 --in tiny --out again.gguf
cmp -s q8_0.gguf again.gguf || fault "a run that went on gives another file"
# another model of the same shape in the place of the first is begun anew
run init --config "$source/configs/model/tiny.json" --out place --seed 1
(ulimit -f 120 && trap '' XFSZ && "$moe2" quantize --method q8_0 --in place --out third.gguf >/dev/null 2>&1) && fault "a file of 120 KB held the model"
[ -n "$(ls third.gguf.parts 2>/dev/null)" ] || fault "nothing was kept of the run that died"
rm -rf place
run init --config "$source/configs/model/tiny.json" --out place --seed 2
run quantize --method q8_0 --in place --out third.gguf
run quantize --method q8_0 --in place --out whole.gguf
cmp -s whole.gguf third.gguf || fault "parts of an older model in the same place were used"
# a NaN has no code in any block
cp -r tiny broken && chmod -R u+w broken
begin=$(($(od -An -t u8 -N 8 broken/model.safetensors) + 8))
at=$(head -c $begin broken/model.safetensors | grep -ao '"lm_head.weight":{[^}]*' | sed 's/.*"data_offsets":\[\([0-9]*\),.*/\1/')
printf '\0\0\300\177' | dd of=broken/model.safetensors bs=1 seek=$((begin + at + 40)) conv=notrunc 2>/dev/null
for method in q8_0 q4_0; do
    fails 1 "tensor output.weight holds nan, which Q8_0 can't" quantize --method $method --in broken --out broken.gguf
done
mkdir again.parts && echo other >again.parts/manifest.txt && echo x >again.parts/00000000
run quantize --method nf4 --in tiny --out again
cmp -s nf4/model.safetensors again/model.safetensors || fault "parts of another model were used"
run quantize --method nf4 --in tiny --out judged --json --text "$golden/tokenizer_corpus.txt" --tokenizer bytes
grep -q '"ppl_after": [0-9]' out.txt || fault "quantize --text gives no perplexity"

# ---- tokenizers there and back ----
for t in gpt2 smollm qwen2 llama3 deepseek spm; do
    rm -rf m && cp -r "$fixtures/model_v3" m && chmod -R u+w m
    cp "$golden/tokenizer_$t.json" m/tokenizer.json
    echo '{"chat_template": "{{ messages }} \"x\"", "eos_token": "</s>"}' >m/tokenizer_config.json
    run convert --in m --out t.gguf
    run convert --in t.gguf --out t.back
    sed 's/.*"text":\("\([^"\\]\|\\.\)*"\).*/\1/' "$golden/tokenizer_${t}_cases.jsonl" >lines
    "$moe2" tokenize --tokenizer m --json-lines <lines >ids.m
    for other in t.gguf t.back; do
        "$moe2" tokenize --tokenizer $other --json-lines <lines >ids.o 2>err.txt || fault "$t: $(cat err.txt)"
        cmp -s ids.m ids.o || fault "$t: $other gives other ids: $(diff ids.m ids.o | head -3 | tr '\n' ' ')"
    done
    "$moe2" tokenize --tokenizer m --json-lines --decode <ids.m >text.m
    "$moe2" tokenize --tokenizer t.gguf --json-lines --decode <ids.m >text.o
    cmp -s text.m text.o || fault "$t: ids of the GGUF file decode to other texts"
    grep -q '"chat_template": "{{ messages }} \\"x\\""' t.back/tokenizer_config.json || fault "$t: the chat template is gone"
done

# ---- inspect ----
run inspect "$fixtures/model_v3"
grep -q 'model.layers.1.mlp.experts.7.down_proj.weight *F32 *\[20, 7\] *560' out.txt || fault "inspect does not list the experts"
grep -q '^model: deepseek_v3, 3 layers of width 20, 3 heads, vocabulary 48, 3 of 8 experts a token' out.txt || fault "inspect: no summary: $(tail -3 out.txt)"
run inspect v3.gguf
grep -q 'deepseek2.attention.kv_lora_rank *u32 *10' out.txt || fault "inspect does not show the metadata"
grep -q 'perplexity: opened: weights are' out.txt || fault "inspect does not say what moe2 would do"
run inspect v3.gguf --json
grep -q '"deepseek2.expert_gating_func": 2' out.txt || fault "inspect --json has no metadata"

# ---- refusals ----
fails 1 "nowhere: is no checkpoint folder, GGUF file or llama2.c model: there is no such file" inspect nowhere
fails 2 "wanted one FILE, there are 0" inspect
fails 2 '--type is "q9", wanted f32, f16, bf16, q8_0 or q4_0' convert --in tiny --out x --type q9
fails 2 '--method is "gptq", wanted nf4, q8_0 or q4_0' quantize --method gptq --in tiny --out x
fails 2 "x: a folder can't hold q8_0, wanted a name ending in .gguf, or f32, f16, bf16 or nf4" convert --in tiny --out x --type q8_0
fails 2 "x.gguf: GGUF has no NF4, wanted a folder, or f32, f16, bf16, q8_0 or q4_0" quantize --method nf4 --in tiny --out x.gguf
fails 1 "$fixtures/model_v3_unnormed: yarn's mscale is 0.9 and mscale_all_dim 0.5: a GGUF file has one for both" convert --in "$fixtures/model_v3_unnormed" --out x.gguf
fails 1 "v3.gguf: holds no tokenizer" tokenize --tokenizer v3.gguf
head -c 2000 v3.gguf >cut.gguf
fails 1 "cut.gguf: ends in *" inspect cut.gguf
[ ! -e x.gguf ] && [ ! -e x ] || fault "something was written by a command that failed"

finish "inspect, convert, quantize: as promised"
