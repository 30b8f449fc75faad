"""NF4 by bitsandbytes on a checkpoint folder, the peer of bench/nf4.sh: seconds of quantize_4bit over all projections of the layers,
how many of its codes are those of the folder that moe2 wrote, and the perplexity of both folders by transformers.

usage: nf4.py FOLDER NF4_FOLDER TEXT WINDOW

The text is cut into windows of WINDOW targets that do not overlap, its first token conditioned on BOS, as moe2 perplexity does.
"""
import math
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import bitsandbytes.functional as bnb  # noqa: E402
import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, logging  # noqa: E402

folder, ours, text, window = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
logging.disable_progress_bar()
sys.stdout.reconfigure(line_buffering=True)
torch.set_num_threads(len(os.sched_getaffinity(0)))


def quantised(name):
    with safe_open(os.path.join(ours, "model.safetensors"), "pt") as f:
        return {k: f.get_tensor(name + k) for k in ("", ".absmax", ".nested_absmax")}


with safe_open(os.path.join(folder, "model.safetensors"), "pt") as f:
    weights = {k: f.get_tensor(k) for k in f.keys() if k.endswith("_proj.weight")}
begun = time.perf_counter()
theirs = {k: bnb.quantize_4bit(w, blocksize=64, compress_statistics=True, quant_type="nf4") for k, w in weights.items()}
print(f"bitsandbytes quantize_4bit, {len(weights)} tensors  {time.perf_counter() - begun:6.2f} s")
codes = same = scales = same_scales = 0
for k, (packed, state) in theirs.items():
    mine = quantised(k)
    off = packed.flatten() ^ mine[""].flatten()
    codes += 2 * off.numel()
    same += int(((off >> 4) == 0).sum() + ((off & 15) == 0).sum())
    scales += state.absmax.numel()
    same_scales += int((state.absmax == mine[".absmax"]).sum())
print(f"codes equal to moe2's  {same} of {codes} ({codes - same} differ); 8-bit scales  {same_scales} of {scales}")

ids = AutoTokenizer.from_pretrained(folder)(open(text, encoding="utf-8").read(), add_special_tokens=False).input_ids
for path in (folder, ours):
    model = AutoModelForCausalLM.from_pretrained(path, device_map="cpu", **({"dtype": torch.float32} if path == folder else {}))
    all_ids = [model.config.bos_token_id] + ids
    total, begun = 0.0, time.perf_counter()
    with torch.no_grad():
        for at in range(0, len(ids), window):
            x = torch.tensor([all_ids[at:at + window + 1]])
            logits = model(x[:, :-1]).logits[0].float()
            total += torch.nn.functional.cross_entropy(logits, x[0, 1:], reduction="sum").item()
    print(f"transformers perplexity, {os.path.basename(path)}  {math.exp(total / len(ids)):.4f} over {len(ids)} tokens, "
          f"{time.perf_counter() - begun:.1f} s")
