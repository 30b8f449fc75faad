#!/usr/bin/env bash
# Broken files, wrong words and a full disk, through the real commands: what each must say. For every case: the exit status (2 for
# wrong words or configuration, 1 for the world), one line on stderr that begins "moe2 COMMAND: ", no signal, no temporary file
# left, and what was there before unchanged.   test_bad_input.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
v3=$source/tests/fixtures/model_v3
plain=$source/tests/fixtures/model_v3_plain
qwen=$source/tests/golden/tokenizer_qwen2.json
tiny=$source/configs/model/tiny.json
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n_cases=0

shopt -s globstar nullglob
no_leftovers() { # WORDS: no temporary file of theirs
    local left=(**/*.tmp* **/*.old)
    [ ${#left[@]} -eq 0 ] && return
    fault "moe2 $*: left ${left[*]}"
    rm -rf "${left[@]}"
}

# rejects STATUS MESSAGE WORDS…: moe2 WORDS ends so; MESSAGE is all of stderr behind "moe2 COMMAND: ".
rejects() {
    stopped "$@"
    same "moe2 ${*:3}: one line on stderr" "" "$(sed '$d' refused.err)"
}

# The same for a run that had begun: the message is the last line.
stopped() {
    local name=$3
    case $3 in tokenizer | data) name="$3 $4" ;; esac
    refused "moe2 ${*:3}" "$1" "moe2 $name: $2" timeout 120 "$moe2" "${@:3}" </dev/null
    n_cases=$((n_cases + 1))
    no_leftovers "${@:3}"
}

sum_of() { (cd "$1" && find . -type f ! -name logs.txt | sort | xargs md5sum); }

# ---- model.safetensors ----
clone() { # a fresh copy of the fixture in m/
    rm -rf m && mkdir m && cp "$v3"/{config.json,model.safetensors} m
}
header() { # the same length, or offsets are off
    clone && LC_ALL=C sed -i "s/$1/$2/" m/model.safetensors
}
poke() { # OFFSET BYTES: writes into the data behind the header
    local n
    n=$(od -An -tu8 -N8 m/model.safetensors)
    printf "$2" | dd of=m/model.safetensors bs=1 seek=$((8 + n + $1)) conv=notrunc status=none
}
weights() { # STATUS-1 message for m
    rejects 1 "$1" logits --model m --ids 1,2 --out x.npy
    [ ! -e x.npy ] || fault "$1: wrote x.npy"
}
file=m/model.safetensors
clone && truncate -s 40000 $file
weights "$file: tensor * lies at bytes 29676 to 30236 of the data, which has 30088"
clone && truncate -s 500 $file
weights "$file: the header says it has 9904 bytes, the file has 492 behind its first 8"
clone && truncate -s 5 $file
weights "$file: the file has 5 bytes, wanted at least 8"
clone && : >$file
weights "$file: the file has 0 bytes, wanted at least 8"
clone && printf '\377\377\377\377\377\377\377\177' | dd of=$file conv=notrunc status=none
weights "$file: the header says it has 9223372036854775807 bytes, wanted at most 100000000"
clone && printf '[' | dd of=$file bs=1 seek=8 conv=notrunc status=none
weights "$file: the header does not begin with '{': no safetensors file"
header '"lm_head.weight":{"dtype":"F32"' '"lm_head.weight":{"dtype":"I32"'
weights "m: 1 tensor is of a type that can't be read here (lm_head.weight is I32)"
header '"lm_head.weight":{"dtype":"F32"' '"lm_head.weight":{"dtype":"Q32"'
weights "$file: tensor lm_head.weight is of type \"Q32\", wanted one of the format's types"
header '"lm_head.weight"' '"lm_haed.weight"'
weights "m: 1 tensor is missing (lm_head.weight); 1 tensor is unknown (lm_haed.weight)"
header '"lm_head.weight":{"dtype":"F32","shape":\[48,20\]' '"lm_head.weight":{"dtype":"F32","shape":[20,48]'
weights "m: 1 tensor has another shape (lm_head.weight is \[20, 48\], wanted \[48, 20\])"
header 'data_offsets":\[3840,7680\]' 'data_offsets":[3840,9680]'
weights "$file: tensor model.embed_tokens.weight is F32 \[48, 20\] and has 5840 bytes, wanted 3840"
header 'data_offsets":\[7680,7760\]' 'data_offsets":[7600,7680]'
weights "$file: tensor model.layers.0.input_layernorm.weight begins at byte 7600 of the data, inside model.embed_tokens.weight"
clone && poke $((3840 + 40)) '\0\0\300\177'
weights "$file: tensor model.embed_tokens.weight holds a NaN or an infinity at element 10"
clone && poke 7680 '\0\0\200\177'
weights "$file: tensor model.layers.0.input_layernorm.weight holds a NaN or an infinity at element 0"
rejects 1 "$file: tensor * holds a NaN or an infinity at element 0" grad --model m --ids 1,2,3 --out g.safetensors
rejects 1 "$file: tensor * holds a NaN or an infinity at element 0" step --model m --ids 1,2,3 --out s
rejects 1 "$file: tensor * holds a NaN or an infinity at element 0" perplexity --model m --tokenizer bytes --text "$source/LICENSE"
rejects 1 "m can't be exported: $file: tensor * holds a NaN or an infinity at element 0" export --checkpoint m --out e
clone && rm $file
weights "m: has neither model.safetensors nor model.safetensors.index.json"
clone && rm $file && mkdir $file
weights "$file: is not a regular file"
rm -rf m && cp -r "$plain" m && rm m/model-00002*
weights "m/model-00002-of-00003.safetensors: can't be opened: No such file or directory"
rm -rf m && cp -r "$plain" m && sed -i 's/model-00002-of-00003/..\/model-x-of-00003/' m/model.safetensors.index.json
weights "m/model.safetensors.index.json: tensor * lies in \"../model-x-of-00003.safetensors\", wanted the name of a file in this folder"
rm -rf m && cp -r "$plain" m && truncate -s 50 m/model.safetensors.index.json
weights "m/model.safetensors.index.json: the JSON ends at byte 50, wanted a string"
rm -rf m
weights "m: can't be opened: No such file or directory"
cp "$v3/config.json" m
weights "m: is no checkpoint folder, GGUF file or llama2.c model"
rm m

# ---- config.json ----
config() { # SED MESSAGE
    clone && sed -i "$1" m/config.json
    weights "m/config.json: $2"
}
config '/"hidden_size"/d' "the key hidden_size is missing"
config 's/"hidden_size": 20/"hidden_size": 999999999999/' "hidden_size is 999999999999, wanted 1 to 131072"
config 's/"hidden_size": 20/"hidden_size": -20/' "hidden_size is -20, wanted 1 to 131072"
config 's/"hidden_size": 20/"hidden_size": "twenty"/' "hidden_size is not a whole number"
config 's/"hidden_size": 20/"hidden_size": 20.5/' "hidden_size is not a whole number"
config 's/"hidden_size": 20/"hidden_size": 20, "hidden_size": 21/' "line 13: duplicate object key near '\"hidden_size\"'"
config 's/"num_hidden_layers": 3/"num_hidden_layers": 0/' "num_hidden_layers is 0, wanted 1 to 1024"
config 's/"num_hidden_layers": 3/"num_hidden_layers": 300000000/' "num_hidden_layers is 300000000, wanted 1 to 1024"
config 's/"n_routed_experts": 8/"n_routed_experts": 1000000000/' "n_routed_experts is 1000000000, wanted 1 to 16384"
config 's/"num_experts_per_tok": 3/"num_experts_per_tok": 30/' "num_experts_per_tok is 30, more than the 8 experts there are"
config 's/"n_group": 4/"n_group": 3/' "8 experts can't be divided into 3 groups"
config 's/"rms_norm_eps": [^,]*/"rms_norm_eps": 1e999/' "line *: real number overflow near '1e999'"
config 's/"silu"/"gelu"/' "hidden_act is \"gelu\", only silu is supported"
config 's/"deepseek_v3"/"gpt2"/' "model_type is \"gpt2\", wanted deepseek_v3, deepseek_v2, llama, mistral, qwen2 or qwen3"
config '7,$d' "line *: * near end of file"
config 's/.*//' "line *: '\[' or '{' expected near end of file"
config '1,$c [1]' "is not a JSON object"
clone && head -c 100000 /dev/zero | tr '\0' '[' >m/config.json
weights "m/config.json: line 1: maximum parsing depth reached near '\['"
clone && rm m/config.json
weights "m/config.json: can't be opened: No such file or directory"

# ---- ids, words, places to write ----
clone
rejects 2 "id 48 at position 1 is outside the vocabulary of 48" logits --model m --ids 1,48 --out x.npy
rejects 2 "id 48 at position 2 is outside the vocabulary of 48" grad --model m --ids 1,2,48 --out g.safetensors
rejects 2 '--ids has "-1", wanted whole numbers from 0 separated by commas' logits --model m --ids 1,-1 --out x.npy
rejects 2 '--ids has "99999999999999999999", wanted *' logits --model m --ids 1,99999999999999999999 --out x.npy
rejects 2 '--ids has "", wanted *' logits --model m --ids "" --out x.npy
rejects 2 '--ids has ",2", wanted *' logits --model m --ids 1,,2 --out x.npy
rejects 2 'unknown option --ot, did you mean --out?' logits --model m --ids 1,2 --ot x.npy
rejects 2 '--model wants a value' logits --model
rejects 2 '--out is missing (see --help)' logits --model m --ids 1,2
rejects 2 '"extra" is one word too many (see --help)' logits --model m --ids 1,2 --out x.npy extra
rejects 2 'device "gpu" is unknown, wanted one of cpu, *' logits --model m --ids 1,2 --out x.npy --device gpu
rejects 2 '--lr is 1e+30, wanted 0 to 1000' step --model m --ids 1,2,3 --lr 1e30 --out s
rejects 2 '--lr is "nan", wanted a number' step --model m --ids 1,2,3 --lr nan --out s
rejects 1 'step 2: layer 0: the output of token 0 holds a NaN or infinity' step --model m --ids 1,2,3 --lr 900 --out s
[ ! -e s ] || fault "step wrote what it refused"
rejects 1 '/dev/full: is a device or pipe, wanted a file to write' logits --model m --ids 1,2 --out /dev/full
rejects 1 'm: is a folder, wanted a file to write' logits --model m --ids 1,2 --out m
rejects 1 'm/config.json/x.npy: can'\''t be written: Not a directory' logits --model m --ids 1,2 --out m/config.json/x.npy
rejects 1 'm/config.json: is not a folder' init --config "$tiny" --out m/config.json
rejects 1 'm/config.json/x: can'\''t be made: Not a directory' init --config "$tiny" --out m/config.json/x
rejects 1 'nowhere.json: can'\''t be opened: No such file or directory' init --config nowhere.json --out i
rejects 2 '--seed is "x", wanted a whole number' init --config "$tiny" --out i --seed x
rejects 2 '--dtype is "f8", wanted f32, bf16 or nf4' init --config "$tiny" --out i --dtype f8
[ ! -e i ] || fault "init made a folder for what it refused"
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked && chmod 500 locked
    rejects 1 'locked/x.npy: can'\''t be written: Permission denied' logits --model m --ids 1,2 --out locked/x.npy
    chmod 0 m/model.safetensors
    weights "$file: can't be opened: Permission denied"
    chmod 600 m/model.safetensors
else
    echo "skipped: permissions, which do not bind root"
fi

# ---- tokenizer.json ----
mkdir t
tokenizer() { # SED MESSAGE
    sed "$1" "$qwen" >t/tokenizer.json
    rejects 1 "t: $2" tokenize --tokenizer t
}
tokenizer '30,$d' "tokenizer.json, line *: * near end of file"
tokenizer 's/.*//' "tokenizer.json, line *: '\[' or '{' expected near end of file"
tokenizer 's/"model": {/"modell": {/' "model is missing"
tokenizer 's/"type": "BPE"/"type": "WordPiece"/' "pre_tokenizer has ByteLevel, which WordPiece does not take"
tokenizer 's/"merges": \[/"merges": ["x y z",/' "merge 0 is not \"a b\" or \[\"a\", \"b\"\]"
rejects 1 "nowhere: can't be opened: No such file or directory" tokenize --tokenizer nowhere
rejects 1 "m holds no tokenizer.json and no vocab.txt" tokenize --tokenizer m
rm -r t

# ---- text ----
seq 1 3000 | sed 's/$/ righe di testo per provare il modello con parole diverse/' >text.txt
head -c 300 text.txt >short.txt
: >empty.txt
printf 'bene\n\377\376 male' >bad.txt
"$moe2" init --config "$tiny" --out tiny >/dev/null || fault "init"
perplexity() { # STATUS MESSAGE WORDS
    local status=$1 message=$2
    shift 2
    rejects "$status" "$message" perplexity --model tiny --tokenizer bytes "$@"
}
perplexity 2 "the text has 0 tokens, so that none can be scored" --text empty.txt
perplexity 1 "none.txt: can't be opened: No such file or directory" --text none.txt
perplexity 1 "tiny: is not a regular file" --text tiny
perplexity 1 "/dev/null: is not a regular file" --text /dev/null
perplexity 2 "--window is 0, wanted 1 to the model's max_position_embeddings, which is 512" --text short.txt --window 0
perplexity 2 "--window is -1, wanted 1 to *" --text short.txt --window -1
perplexity 2 "--window is 513, wanted 1 to *" --text short.txt --window 513
perplexity 2 "--stride is 0, wanted 1 to the window, which is 512" --text short.txt --stride 0
perplexity 2 "--stride is 33, wanted 1 to the window, which is 32" --text short.txt --window 32 --stride 33
perplexity 2 "--window is \"wide\", wanted a whole number" --text short.txt --window wide
perplexity 2 "device cpu: -3 threads, wanted 0 (all cores) to 256" --text short.txt --threads -3
rejects 1 "bad.txt: the text is not UTF-8: byte 5 is 0xff" perplexity --model tiny --tokenizer "$qwen" --text bad.txt
rejects 1 "nowhere: is no checkpoint folder" perplexity --model nowhere --text short.txt
rejects 2 "tiny has no tokenizer.json; say --tokenizer FOLDER (or bytes)" perplexity --model tiny --text short.txt
rejects 1 "none.txt: can't be opened: No such file or directory" route --model tiny --tokenizer bytes --text none.txt
rejects 2 "$v3 has another vocabulary or other experts, *" route --model tiny --tokenizer bytes --text short.txt --against "$v3"
rejects 1 "bad.txt: the text is not UTF-8: byte 5 is 0xff" tokenizer train --input text.txt bad.txt --vocab-size 300 --out t
rejects 2 "vocabulary size is 10, wanted 258 (specials and bytes) to 1048576" tokenizer train --input text.txt --vocab-size 10 --out t
rejects 1 "text.txt: is not a folder" tokenizer train --input text.txt --vocab-size 300 --out text.txt

# ---- a corpus ----
for i in $(seq 400); do
    printf '{"text": "riga %d di un testo per provare il modello con parole diverse e ancora molto altro da leggere, che non finisce mai, perche serve un documento lungo almeno duecento caratteri, altrimenti lo si butta via subito"}\n' "$i"
done >good.jsonl
data() { # STATUS MESSAGE WORDS
    local status=$1 message=$2
    shift 2
    rejects "$status" "$message" data text --out out "$@"
    [ ! -e out ] || fault "data text $*: made a folder for what it refused"
}
data 1 "none: is not there" --input none
data 2 "--input is missing (see --help)"
data 2 "nothing is left to train on: of 0 documents read, *" --input empty.txt
printf '{"text": "a"}\n{"text": "b"\n{"text":"c"}\n' >a.jsonl
data 1 "a.jsonl:2: the JSON ends at byte 12, wanted ',' or '}'" --input a.jsonl
printf '{"txt": "a"}\n' >a.jsonl
data 1 "a.jsonl:1: there is no field \"text\", the nearest is \"txt\"" --input a.jsonl
printf 'text,url\n"a,b\n' >a.csv
data 1 "a.csv:2: a quote is never closed" --input a.csv
printf 'text,url\na,b,c\n' >a.csv
data 1 "a.csv:2: the row has 3 fields, wanted 2" --input a.csv
gzip -kn good.jsonl && head -c 1000 good.jsonl.gz >cut.jsonl.gz
data 1 "cut.jsonl.gz: the gzip data are cut off after 1000 bytes" --input cut.jsonl.gz
if command -v zstd >/dev/null; then
    zstd -q good.jsonl && head -c 200 good.jsonl.zst >cut.jsonl.zst
    data 1 "cut.jsonl.zst: the zstd data are cut off after 200 bytes" --input cut.jsonl.zst
fi
data 2 "--vocab-size is 3, wanted 258 to 1048576" --input good.jsonl --vocab-size 3
data 2 "--tokenizer and --vocab-size contradict each other" --input good.jsonl --vocab-size 300 --tokenizer bytes
data 2 "tokenizer \"nowhere\" is no folder, wanted one with tokenizer.json, or bytes" --input good.jsonl --tokenizer nowhere
data 2 "validation 0.6 and test 0.6 leave nothing to train on, wanted a sum below 1" --input good.jsonl --validation 0.6 --test 0.6
data 2 "language \"xx\" is unknown, wanted one of: *" --input good.jsonl --language xx
data 2 "--form is \"xml\", did you mean html?" --input good.jsonl --form xml
data 2 "--threads is 0, wanted 1 to 256" --input good.jsonl --threads 0
rejects 2 "tiny: is there and holds other things than packed text, wanted a new folder" data text --input good.jsonl --out tiny
rejects 1 "empty.txt: can't be opened: Not a directory" data text --input good.jsonl --out empty.txt
rejects 1 "empty.txt/x.tmp: can't be made: Not a directory" data text --input good.jsonl --out empty.txt/x
"$moe2" data text --input good.jsonl --out packed >/dev/null 2>&1 || fault "data text"
rejects 2 "packed: is there already, wanted a new folder or --force" data text --input good.jsonl --out packed
rejects 1 "nowhere/manifest.json: is not there; nowhere is no folder that moe2 data text made" data reference --data nowhere

# ---- a run's configuration ----
cat >run.yaml <<Y
name: a
results_dir: res
data:
  text: [text.txt]
model:
  config: $tiny
router:
  incentive: rd_esi
train:
  steps: 6
  batch_tokens: 128
  sequence: 32
  eval_every: 3
  threads: 1
eval:
  tokens: 256
  test_tokens: 256
  sample_tokens: 8
Y
yaml() { # SED STATUS MESSAGE
    sed "$1" run.yaml >y.yaml
    rejects "$2" "$3" train --config y.yaml
}
yaml 's/  steps: 6/  stepps: 6/' 2 "y.yaml:10: train.stepps is no key, did you mean train.steps?"
yaml 's/^router:/rooter:/' 2 "y.yaml:7: rooter is no section, did you mean router?"
yaml 's/steps: 6/steps: six/' 2 "y.yaml:10: train.steps is \"six\", wanted a whole number from 0 to 1000000000000"
yaml 's/steps: 6/steps: [6]/' 2 "y.yaml:10: train.steps is a list, wanted a whole number *"
yaml 's/steps: 6/steps: -6/' 2 "y.yaml:10: train.steps is \"-6\", wanted a whole number from 0 *"
yaml 's/  steps: 6/  steps: 6\n  steps: 7/' 2 "y.yaml:11: train.steps stands twice, first in line 10"
yaml 's/rd_esi/rd_ese/' 2 "y.yaml:8: router.incentive is \"rd_ese\", wanted one of none, aux, *"
yaml 's/  steps/\tsteps/' 1 "y.yaml:10: is no YAML: found character that cannot start any token"
yaml 's/name: a/name: \&a a/' 1 "y.yaml:1: has an anchor or alias, wanted the value itself"
yaml 's/threads: 1/lr: .nan/' 2 "y.yaml:14: train.lr is \".nan\", wanted a number from 0 to 100"
yaml 's/threads: 1/lr: 1e999/' 2 "y.yaml:14: train.lr is \"1e999\", wanted a number from 0 to 100"
yaml 's/threads: 1/device: tpu/' 2 "device \"tpu\" is unknown, wanted one of cpu, *"
yaml 's/sequence: 32/sequence: 300/' 2 "y.yaml: train.batch_tokens is 128, wanted a multiple of train.sequence, which is 300"
yaml 's/steps: 6/steps: 0/' 2 "y.yaml: none of train.tokens, train.steps and train.epochs is given"
yaml 's/name: a/name: ../' 2 "y.yaml: name is \"..\", wanted a word without / that does not begin with a dot"
yaml 's/name: a/name: \/etc\/x/' 2 "y.yaml: name is \"/etc/x\", wanted *"
yaml '/^name/d' 2 "y.yaml: name is missing, wanted a text"
yaml '/^data/,+1d' 2 "y.yaml: no data is given, wanted one of data.dir, data.text and data.examples"
yaml 's/text.txt/none.txt/' 1 "none.txt: can't be opened: No such file or directory"
yaml 's/text.txt/empty.txt/' 2 "the training text has 0 tokens, wanted at least 33 for one sequence"
yaml 's/tiny.json/tinny.json/' 1 "*/tinny.json: can't be opened: No such file or directory"
yaml 's/results_dir: res/results_dir: text.txt/' 1 "text.txt/a: can't be made: Not a directory"
yaml 's/rd_esi/rd_esi\n  pick: expert_choice/' 2 "y.yaml: expert_choice: incentive is rd_esi, wanted none: *"
yaml '5,$d;s/^  text.*/  text/' 2 "y.yaml:*"
head -c 100 /dev/zero >y.yaml
rejects 1 "y.yaml:1: is no YAML: control characters are not allowed" train --config y.yaml
rejects 1 "nowhere.yaml: can't be opened: No such file or directory" train --config nowhere.yaml
rejects 1 "res: can't be *" train --config res
rejects 2 "--config is missing (see --help)" train
rejects 2 "train.lrr is no key, did you mean train.lr?" train --config run.yaml --set train.lrr=1
rejects 2 "train.lr is \"x\", wanted a number from 0 to 100" train --config run.yaml --set train.lr=x
rejects 2 "--resume and --restart contradict each other" train --config run.yaml --resume --restart
rejects 2 "--mode is \"trian\", wanted train, evaluate or train_eval" run --config run.yaml --mode trian
rm -rf res
rejects 2 "res/a/checkpoints/last: there is no checkpoint to go on from" train --config run.yaml --resume
rejects 2 "res/a has no checkpoint to evaluate; train it first, or say --checkpoint_path" evaluate --config run.yaml

# ---- packed shards ----
pack() { # SHELL MESSAGE: what is done to a copy, what is said
    rm -rf p && cp -r packed p && (cd p && eval "$1")
    rejects 1 "$2" train --config packed.yaml --restart
}
sed 's/  text: \[text.txt\]/  dir: p/' run.yaml >packed.yaml
pack 'rm manifest.json' "p/manifest.json: is not there; p is no folder that moe2 data text made"
pack 'truncate -s 100 manifest.json' "p/manifest.json:5:*: is no JSON: premature end of input near *"
pack 'truncate -s 1000 train-00000.bin' "p/train-00000.bin: has 1000 bytes, wanted * tokens in * documents: it is cut off"
pack 'truncate -s 10 train-00000.bin' "p/train-00000.bin: has 10 bytes, wanted at least the 64 of a header"
pack 'rm test-00000.bin' "p/test-00000.bin: can't be opened: No such file or directory"
pack 'printf X | dd of=train-00000.bin conv=notrunc status=none' "p/train-00000.bin: does not begin with \"MOE2TOK1\": not packed text"
pack 'sed -i "s/\"vocab_size\": 258/\"vocab_size\": 100/" manifest.json' "p/manifest.json: eos_id is 257, wanted a whole number from 0 to 99"
pack 'sed -i "s/\"tokens\": [0-9]*/\"tokens\": 5/" manifest.json' "p/train-00000.bin: has * ids of 2 bytes, * as in manifest.json"
rm -rf p && cp -r packed p && head -c 60000 /dev/zero | tr '\0' '\377' | dd of=p/train-00000.bin bs=64 seek=1 conv=notrunc status=none
stopped 1 "*65535*" train --config packed.yaml --restart

# ---- a checkpoint to go on from ----
rm -rf res
sed -i 's/steps: 6/steps: 200000/;s/eval_every: 3/eval_every: 20/' run.yaml
"$moe2" train --config run.yaml >/dev/null 2>stderr &
pid=$!
for _ in $(seq 600); do
    [ -e res/a/checkpoints/best/train_state.json ] && break
    sleep 0.1
done
kill -INT $pid
wait $pid
rc=$?
[ $rc -eq 130 ] || fault "an interrupted run ended with $rc: $(<stderr)"
last=res/b/checkpoints/last
resumed() { # SHELL STATUS MESSAGE: what is done to checkpoints/last of a copy
    local before
    rm -rf res/b && cp -r res/a res/b && (cd $last && eval "$1")
    before=$(sum_of res/b/checkpoints)
    rejects "$2" "$3" train --config run.yaml --set name=b
    [ "$before" = "$(sum_of res/b/checkpoints)" ] || fault "$1: the checkpoints were changed"
}
resumed 'rm optimizer.safetensors' 1 "$last/optimizer.safetensors: can't be opened: No such file or directory"
resumed 'truncate -s 5000 optimizer.safetensors' 1 "$last/optimizer.safetensors: the header says it has * bytes, the file has 4992 *"
resumed 'truncate -s 9000 model.safetensors' 1 "$last/model.safetensors: the header says it has * bytes, the file has 8992 *"
resumed 'rm router_state.safetensors' 1 "$last/router_state.safetensors: is not there, the state of the routers is lost"
resumed 'truncate -s 100 router_state.safetensors' 1 "$last/router_state.safetensors: the header says *"
resumed 'cp model.safetensors router_state.safetensors' 1 "$last/router_state.safetensors: metadata moe2 is \"\", wanted \"router_state 1\""
resumed 'rm measures.safetensors' 1 "$last/measures.safetensors: can't be opened: No such file or directory"
resumed 'cp optimizer.safetensors measures.safetensors' 1 "$last/measures.safetensors: there is no tensor layers.1.matthew.early_load"
resumed 'rm config.json' 1 "$last/config.json: can't be opened: No such file or directory"
resumed 'truncate -s 100 train_state.json' 1 "$last/train_state.json:*: is no JSON: *"
resumed 'sed -i "s/\"step\": [0-9]*/\"step\": -7/" train_state.json' 1 "$last/train_state.json: step is -7, wanted a whole number of at least 0"
resumed 'sed -i "s/\"step\": [0-9]*/\"step\": 7/" train_state.json' 1 "$last: train_state.json is of step 7, the optimizer of step *"
resumed 'rm train_state.json' 1 "$last: is no whole checkpoint, though there is a best one; --restart begins anew"
resumed 'rm -r ../last; echo >../last' 1 "$last: is no whole checkpoint, though there is a best one; --restart begins anew"
resumed 'rm -r ../last' 1 "$last: is no whole checkpoint, though there is a best one; --restart begins anew"
resumed 'sed -i "3s/.*/{broken/" ../../metrics.jsonl' 1 "res/b/metrics.jsonl:3:*: is no JSON: *"
rm -rf res/b && cp -r res/a res/b
rejects 2 "res/b was begun with train.lr = 0.003, now it is 0.1; give it another name, or --restart to begin anew" train --config run.yaml --set name=b train.lr=0.1
rejects 2 "res/b/checkpoints/best was trained with router rd_esi, the configuration says none" evaluate --config run.yaml --set name=b router.incentive=none
rejects 2 "$v3 has a vocabulary of 48, the text's tokenizer 258 ids" evaluate --config run.yaml --checkpoint_path "$v3"

# ---- reports, comparisons, exports ----
rejects 1 "nowhere: holds neither metrics.json nor metrics.jsonl" report nowhere
rejects 2 "which results folder? (see --help)" report
rm -rf res/b && cp -r res/a res/b && sed -i '2s/.*/{broken/' res/b/metrics.jsonl
rejects 1 "res/b/metrics.jsonl:2:*: is no JSON: *" report res/b
printf '{"name": 3' >res/b/metrics.json
rejects 1 "res/b/metrics.json:*: is no JSON: *" report res/b
rejects 1 "nowhere.yaml: can't be opened: No such file or directory" compare --configs nowhere.yaml --out cmp
rejects 2 "--seeds is 0, wanted 1 to 64" compare --configs run.yaml --seeds 0 --out cmp
rejects 2 "run.yaml and run.yaml have the same router and the same name \"a\"" compare --configs run.yaml run.yaml --out cmp
sed 's/name: a/name: b/;s/sequence: 32/sequence: 64/' run.yaml >y.yaml
rejects 2 "run.yaml and y.yaml differ in train.sequence (32 and 64), *" compare --configs run.yaml y.yaml --out cmp
rejects 1 "nowhere/compare.json: can't be opened: No such file or directory" compare --status nowhere
rejects 2 "res is there already" export --checkpoint tiny --out res
rejects 1 "nowhere can't be exported: nowhere: can't be opened: No such file or directory" export --checkpoint nowhere --out e
rejects 1 "empty.txt/x.tmp: can't be made: Not a directory" export --checkpoint tiny --out empty.txt/x
for pick in expert_choice random; do
    "$moe2" train --config run.yaml --set name=$pick router.incentive=none router.pick=$pick train.steps=1 >/dev/null 2>stderr ||
        fault "$pick: $(<stderr)"
    rejects 2 "res/$pick/checkpoints/last can't be exported: layer 1 can't be exported with *" export --checkpoint res/$pick/checkpoints/last --out e
done
[ ! -e e ] || fault "export made a folder for what it refused"

# ---- NaN while training: step and layer named, the last good checkpoint opens ----
stopped 1 "step *: *layer[s. ]*" train --config run.yaml --set name=nan train.steps=100 train.lr=100 train.warmup=50 train.clip=0 \
    train.eval_every=1
grep -q " NaN" refused.err || fault "after NaN: $(tail -1 refused.err)"
grep -q 'error: step [0-9]*: ' res/nan/logs.txt || fault "logs.txt does not say why the run ended"
"$moe2" logits --model res/nan/checkpoints/last --ids 1,2 --out x.npy 2>stderr || fault "after NaN: $(<stderr)"
rm -f x.npy

# ---- a full disk: a limit of the shell on the size of files, and a device that is always full ----
before=$(sum_of tiny)
(
    ulimit -f 100
    rejects 1 "tiny/model.safetensors: can't be written: File too large *" init --config "$tiny" --out tiny --seed 5
    rejects 1 "x.npy: can't be written: File too large*" logits --model tiny --ids "$(seq -s, 1 60)" --out x.npy
    rejects 1 "g.safetensors: can't be written: File too large *" grad --model tiny --ids 1,2,3 --out g.safetensors
    rejects 1 "e.tmp/model.safetensors: can't be written: File too large *" export --checkpoint tiny --out e
    rejects 1 "full.tmp/train-00000.bin: can't be written: File too large*" data text --input good.jsonl --out full
    stopped 1 "the checkpoint could not be written: *: can't be written: File too large *" train --config run.yaml --set name=full
    [ -z "$(ls res/full/checkpoints)" ] || fault "a full disk left $(ls res/full/checkpoints)"
    exit $n_failed
)
n_failed=$?
[ "$before" = "$(sum_of tiny)" ] || fault "a full disk changed what was there"
for words in "--help" "--version" "help routing" "train --help" "run --help-config" "doctor --json" \
    "perplexity --model tiny --tokenizer bytes --text short.txt --json" "route --model tiny --tokenizer bytes --text short.txt --json"; do
    n_cases=$((n_cases + 1))
    # shellcheck disable=SC2086
    "$moe2" $words >/dev/full 2>stderr && fault "moe2 $words: no failure on a full device"
    [[ $(<stderr) == "moe2 "*": standard output can't be written: No space left on device" ]] || fault "moe2 $words: said \"$(<stderr)\""
done

# ---- no such command ----
unknown() {
    local message=$1
    shift
    n_cases=$((n_cases + 1))
    "$moe2" "$@" >stdout 2>stderr
    [ $? -eq 2 ] || fault "moe2 $*: status, wanted 2"
    [ "$(<stderr)" = "moe2: $message" ] || fault "moe2 $*: said \"$(<stderr)\", wanted \"moe2: $message\""
}
unknown '"nonsense" is no command (see moe2 --help)' nonsense
unknown '"trian" is no command, did you mean "train"?' trian --config run.yaml
unknown '"data" wants another word: data text, data italian, data reference, data qa, data synth, data split-outcomes' data
unknown '"tokenizer" wants another word: tokenizer train' tokenizer trian

finish "$n_cases broken inputs: each refused in one sentence"
