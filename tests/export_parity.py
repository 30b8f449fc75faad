"""Exported folders in transformers: DeepseekV3ForCausalLM gives the logits that moe2 gives the checkpoints that they were exported from.

usage: export_parity.py MOE2 NAME…        out-NAME was exported from results/NAME/checkpoints/last
"""
import subprocess
import sys

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

LIMIT = 1e-5  # largest error over largest value, as for every model


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor(ids)[None]).logits[0].numpy()


def compare(moe2, name):
    exported, checkpoint = f"out-{name}", f"results/{name}/checkpoints/last"
    model = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
    assert type(model).__name__ == "DeepseekV3ForCausalLM", type(model).__name__
    ids = np.random.default_rng(1).integers(0, model.config.vocab_size, 60)
    words = ["--model", checkpoint, "--ids", ",".join(map(str, ids)), "--out", f"{name}.npy"]
    subprocess.run([moe2, "logits", *words], check=True)
    ours, theirs = np.load(f"{name}.npy"), logits(model, ids)
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    with safe_open(f"{exported}/model.safetensors", "pt") as f:
        biases = [f.get_tensor(k) for k in f.keys() if k.endswith("e_score_correction_bias")]
    largest = max(b.abs().max().item() for b in biases)
    # Without the folded bias the logits must be others, or this test shows nothing.
    for module in model.modules():
        if hasattr(module, "e_score_correction_bias"):
            module.e_score_correction_bias.zero_()
    change = np.abs(ours - logits(model, ids)).max() / np.abs(theirs).max()
    print(f"{name:16} largest folded bias {largest:.3g}: logits differ by {error:.2g}, without the bias by {change:.2g}")
    return error <= LIMIT and largest > 0 and change > 100 * LIMIT


results = [compare(sys.argv[1], name) for name in sys.argv[2:]]
sys.exit(0 if results and all(results) else 1)
