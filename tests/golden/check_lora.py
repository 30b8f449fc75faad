"""Adapters beside peft itself: the same logits and gradients from the same files, both ways. usage: check_lora.py MOE2 SOURCE_DIR

Experts' adapters are held to W + s·B·A instead: peft 0.21 keeps experts fused and reads per-expert files only under conditions.
"""
import json
import os
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config  # noqa: E402

transformers.utils.logging.disable_progress_bar()
moe2, source = sys.argv[1:3]
failed = False
IDS = [(i * i * 7 + 3 * i + 1) % 250 for i in range(40)]
TEXT = ",".join(map(str, IDS))


def run(*args):
    done = subprocess.run([moe2, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"moe2 {args[0]}: {done.stderr.strip()}")


def check(what, got, wanted, limit):
    global failed
    error = float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30))
    failed |= not error <= limit
    print(f"{'ok    ' if error <= limit else 'FAILED'} {what}: largest error over largest value {error:.2g}, at most {limit:g}")


def load(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.config._experts_implementation = "eager"
    return model


def peft_to_moe2(name, folder, tmp, **said):
    """An adapter that peft wrote."""
    torch.manual_seed(1)
    model = get_peft_model(load(folder), LoraConfig(task_type="CAUSAL_LM", **said))
    for n, p in model.named_parameters():
        if "lora_B" in n:
            p.data.normal_(0, 0.1)
    adapter = f"{tmp}/{name}-adapter"
    model.save_pretrained(adapter)
    x = torch.tensor([IDS])
    out = model(input_ids=x, labels=x, use_cache=False)
    run("logits", "--model", folder, "--adapter", adapter, "--ids", TEXT, "--out", tmp + "/x.npy")
    check(f"{name}: logits with peft's adapter", np.load(tmp + "/x.npy"), out.logits[0].detach().numpy(), 2e-5)
    out.loss.backward()
    grads = {n.replace(".default", ""): p.grad for n, p in model.named_parameters() if p.grad is not None}
    run("grad", "--model", folder, "--adapter", adapter, "--ids", TEXT, "--out", tmp + "/g.safetensors")
    with safe_open(tmp + "/g.safetensors", "pt") as f:
        assert sorted(f.keys()) == sorted(grads), (name, set(f.keys()) ^ set(grads))
        worst = max((float((f.get_tensor(k) - g).abs().max() / g.abs().max().clamp_min(1e-30)), k) for k, g in grads.items())
    check(f"{name}: gradients of adapters, the worst {worst[1]},", np.array(1 + worst[0]), np.array(1.0), 2e-4)
    merged = f"{tmp}/{name}-merged"
    run("merge", "--model", folder, "--adapter", adapter, "--out", merged, "--dtype", "f32")
    own = load(merged)(input_ids=x, use_cache=False).logits[0].detach().numpy()
    check(f"{name}: transformers on the merged model", own, out.logits[0].detach().numpy(), 2e-5)


def finetune(folder, tmp, name, targets, *words):
    with open(f"{tmp}/examples.jsonl", "w", encoding="utf-8") as f:
        for i in range(60):
            f.write(json.dumps(dict(prompt=f"Quanto fa {i} piu {i % 7}?", completion=f" {i + i % 7}")) + "\n")
    with open(f"{tmp}/f.yaml", "w", encoding="utf-8") as f:
        f.write(f"name: {name}\nresults_dir: {tmp}/results\nbase: {{path: {folder}}}\nlora: {{r: 4, alpha: 6, target_modules: [{targets}]}}\n"
                f"data: {{examples: {tmp}/examples.jsonl}}\ntrain: {{steps: 5, batch_tokens: 128, sequence: 64, lr: 0.02, warmup: 0, eval_every: 0}}\n")
    run("finetune", "--config", f"{tmp}/f.yaml", *words)
    return f"{tmp}/results/{name}/adapter"


def moe2_to_peft(name, folder, tmp, targets, *words):
    adapter = finetune(folder, tmp, name, targets, *words)
    model = PeftModel.from_pretrained(load(folder), adapter)
    wanted = model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0].detach().numpy()
    plain = load(folder)(input_ids=torch.tensor([IDS]), use_cache=False).logits[0].detach().numpy()
    assert np.abs(plain - wanted).max() > 1e-3, name
    run("logits", "--model", folder, "--adapter", adapter, "--ids", TEXT, "--out", tmp + "/x.npy")
    check(f"{name}: peft with moe2's adapter", np.load(tmp + "/x.npy"), wanted, 2e-5)


def experts(folder, tmp):
    """W + s·B·A by hand."""
    adapter = finetune(folder, tmp, "experts", "all-linear, mlp.gate", 'lora.rank_pattern=["experts.[0-3].up_proj=2"]', "lora.rslora=true")
    config = json.load(open(adapter + "/adapter_config.json"))
    weights, pairs = load_file(folder + "/model.safetensors"), load_file(adapter + "/adapter_model.safetensors")
    for key, a in pairs.items():
        if ".lora_A." in key:
            module = key[len("base_model.model."):-len(".lora_A.weight")]
            b = pairs[key.replace("lora_A", "lora_B")]
            weights[module + ".weight"] += config["lora_alpha"] / a.shape[0] ** 0.5 * (b @ a)
    merged = tmp + "/by-hand"
    os.makedirs(merged)
    save_file(weights, merged + "/model.safetensors", metadata={"format": "pt"})
    with open(folder + "/config.json") as f, open(merged + "/config.json", "w") as g:
        g.write(f.read())
    run("logits", "--model", merged, "--ids", TEXT, "--out", tmp + "/y.npy")
    run("logits", "--model", folder, "--adapter", adapter, "--ids", TEXT, "--out", tmp + "/x.npy")
    check("experts: W + s·B·A by hand", np.load(tmp + "/x.npy"), np.load(tmp + "/y.npy"), 2e-5)


def dense_models(tmp):
    sizes = dict(vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                 max_position_embeddings=256, initializer_range=0.1, bos_token_id=0, eos_token_id=1)
    for name, config in (("llama", LlamaConfig(tie_word_embeddings=False, **sizes)), ("qwen2", Qwen2Config(tie_word_embeddings=True, **sizes))):
        torch.manual_seed(2)
        folder = f"{tmp}/{name}"
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
        try:
            run("logits", "--model", folder, "--ids", TEXT, "--out", tmp + "/x.npy")
        except RuntimeError:
            print(f"skipped: this moe2 does not open {name}")
            continue
        peft_to_moe2(name, folder, tmp, r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"],
                     rank_pattern={"v_proj": 2}, alpha_pattern={"layers.1.self_attn.q_proj": 3})
        moe2_to_peft(name, folder, tmp, "all-linear")


with tempfile.TemporaryDirectory() as tmp:
    base = tmp + "/base"
    run("init", "--config", f"{source}/configs/model/tiny.json", "--out", base, "--seed", "3")
    peft_to_moe2("deepseek", base, tmp, r=4, lora_alpha=8, target_modules=["q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "lm_head"],
                 rank_pattern={"o_proj": 7}, use_rslora=True)
    moe2_to_peft("attention", base, tmp, "q_proj, kv_b_proj, o_proj, lm_head", "lora.rank_pattern=o_proj=2")
    experts(base, tmp)
    dense_models(tmp)
sys.exit(1 if failed else 0)
