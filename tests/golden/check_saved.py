"""Folders that moe2 writes, opened by transformers: the same logits, loss and gradients. usage: check_saved.py MOE2 SOURCE_DIR"""
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
from safetensors import safe_open  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from make_golden import split_experts  # noqa: E402

transformers.utils.logging.disable_progress_bar()
moe2, source = sys.argv[1:3]
failed = False


def run(*args):
    subprocess.run([moe2, *args], check=True, stdout=subprocess.DEVNULL)


def check(what, got, wanted, limit):
    global failed
    error = float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30))
    failed |= not error <= limit
    print(f"{'ok    ' if error <= limit else 'FAILED'} {what}: largest error over largest value {error:.2g}, at most {limit:g}")


def compare(name, folder, ids, tmp, gradients):
    text = ",".join(map(str, ids))
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model.config._experts_implementation = "eager"
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[kind], (name, kind, info[kind])
    x = torch.tensor([ids])
    out = model(input_ids=x, labels=x, use_cache=False)
    run("logits", "--model", folder, "--ids", text, "--out", tmp + "/x.npy")
    check(name + " logits", np.load(tmp + "/x.npy"), out.logits[0].detach().numpy(), 1e-5)
    if not gradients:
        return
    out.loss.backward()
    grads = split_experts({n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in model.named_parameters()})
    run("grad", "--model", folder, "--ids", text, "--out", tmp + "/g.safetensors")
    with safe_open(tmp + "/g.safetensors", "pt") as f:
        check(name + " loss", np.array(float(f.metadata()["loss"])), out.loss.detach().numpy(), 1e-5)
        assert sorted(f.keys()) == sorted(grads), (name, set(f.keys()) ^ set(grads))
        worst = max((float((f.get_tensor(k) - g).abs().max() / g.abs().max().clamp_min(1e-30)), k) for k, g in grads.items())
    check(f"{name} gradients, the worst {worst[1]},", np.array(1 + worst[0]), np.array(1.0), 1e-4)


with tempfile.TemporaryDirectory() as tmp:
    ids = [(i * i * 7 + 3 * i + 1) % 512 for i in range(70)]
    for preset, dtype in (("tiny", "f32"), ("tiny", "bf16"), ("medium", "f32")):
        folder = f"{tmp}/{preset}-{dtype}"
        run("init", "--config", f"{source}/configs/model/{preset}.json", "--out", folder, "--dtype", dtype, "--seed", "5")
        compare(f"init {preset} {dtype}", folder, ids, tmp, True)
    for fixture in sorted(os.listdir(source + "/tests/fixtures")):
        if not fixture.startswith("model_"):
            continue
        folder, out = f"{source}/tests/fixtures/{fixture}", f"{tmp}/{fixture}"
        run("step", "--model", folder, "--ids", "5,9,2,30,11,7,1,45", "--steps", "2", "--lr", "1e-2", "--out", out)
        vocabulary = json.load(open(out + "/config.json"))["vocab_size"]
        compare(f"step {fixture}", out, [i % vocabulary for i in ids], tmp, True)
sys.exit(1 if failed else 0)
