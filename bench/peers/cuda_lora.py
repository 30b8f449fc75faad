"""LoRA steps of transformers and peft on one GPU, the peer of bench_step --lora: random bf16 weights of a configuration, r 16 on all
linear layers, gradient checkpointing, fused AdamW. Prints one JSON line.

usage: cuda_lora.py CONFIG.json SEQUENCESxTOKENS STEPS
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
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

path, shape, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
batch, sequence = map(int, shape.split("x"))
settings = json.load(open(path))
config = AutoConfig.for_model(**settings)
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.bfloat16)
model.config.use_cache = False
model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
model.enable_input_require_grads()
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, fused=True)
model.train()
seconds = []
torch.cuda.reset_peak_memory_stats()
for step in range(steps + 2):
    x = torch.randint(0, config.vocab_size, (batch, sequence), device="cuda")
    torch.cuda.synchronize()
    begun = time.perf_counter()
    model(input_ids=x, labels=x).loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad()
    torch.cuda.synchronize()
    seconds.append(time.perf_counter() - begun)
print(json.dumps({
    "engine": "transformers+peft", "torch": torch.__version__, "transformers": transformers.__version__, "config": path,
    "batch": batch, "seq": sequence, "tok_s": round(batch * sequence / statistics.median(seconds[2:]), 1),
    "ms_step": round(1e3 * statistics.median(seconds[2:]), 1),
    "device_peak_mb": round(torch.cuda.max_memory_allocated() / 2**20),
    "reserved_peak_mb": round(torch.cuda.max_memory_reserved() / 2**20)}))
