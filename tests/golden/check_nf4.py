"""Logits of an NF4 folder by transformers with bitsandbytes, which computes in bf16, beside ours from a .npy file.

usage: check_nf4.py FOLDER LOGITS.npy ID…

Limit: 2e-2 of the largest logit. Products there are of bf16 operands and results, 8 bits, through five layers; ours are float32.
"""
import os
import sys
import warnings

warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import bitsandbytes  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

folder, path, ids = sys.argv[1], sys.argv[2], [int(x) for x in sys.argv[3:]]
model = AutoModelForCausalLM.from_pretrained(folder, device_map="cpu")
four = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
if len(four) != 7 * model.config.num_hidden_layers:
    sys.exit(f"{folder}: {len(four)} layers are in 4 bits there, wanted {7 * model.config.num_hidden_layers}")
with torch.no_grad():
    theirs = model(torch.tensor([ids])).logits[0].float().numpy()
ours = np.load(path)
off = np.abs(ours - theirs).max() / np.abs(theirs).max()
print(f"logits of {folder}: off by {off:.2g} of the largest, limit 2e-2")
sys.exit(not off <= 2e-2)
