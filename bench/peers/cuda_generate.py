"""Greedy decoding of transformers on one GPU, the peer of bench_generate --device cuda: random bf16 weights of a configuration, one
sequence, a prompt of 512 random tokens and 64 new ones. Prints one JSON line with the prompt's and the new tokens' rates.

usage: cuda_generate.py CONFIG.json [LAYERS]
"""
import json
import os
import statistics
import sys
import time
import warnings

warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

PROMPT, NEW = 512, 64
settings = json.load(open(sys.argv[1]))
config = AutoConfig.for_model(**settings)
if len(sys.argv) > 2:
    config.num_hidden_layers = int(sys.argv[2])
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.bfloat16).eval()
prompt_s, token_s = [], []
for turn in range(4):
    ids = torch.randint(0, config.vocab_size, (1, PROMPT), device="cuda")
    with torch.inference_mode():
        torch.cuda.synchronize()
        begun = time.perf_counter()
        out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        next_id = out.logits[:, -1].argmax(-1, keepdim=True)
        torch.cuda.synchronize()
        ended = time.perf_counter()
        past = out.past_key_values
        for _ in range(NEW):
            out = model(input_ids=next_id, past_key_values=past, use_cache=True)
            next_id = out.logits[:, -1].argmax(-1, keepdim=True)
            next_id.item()
        torch.cuda.synchronize()
    if turn:
        prompt_s.append(ended - begun)
        token_s.append((time.perf_counter() - ended) / NEW)
print(json.dumps({
    "engine": "transformers", "torch": torch.__version__, "transformers": transformers.__version__, "config": sys.argv[1],
    "layers": config.num_hidden_layers, "prompt_tok_s": round(PROMPT / statistics.median(prompt_s), 1),
    "decode_tok_s": round(1 / statistics.median(token_s), 2),
    "device_peak_mb": round(torch.cuda.max_memory_allocated() / 2**20)}))
