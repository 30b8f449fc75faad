"""LoRA steps of transformers and peft on one GPU, the peer of bench_step --lora: random bf16 weights of a configuration, r 16 on all
linear layers, gradient checkpointing, fused AdamW. With nf4 the layers' matrices are bitsandbytes' NF4 with double quantisation (QLoRA).
Prints one JSON line.

usage: cuda_lora.py CONFIG.json SEQUENCESxTOKENS STEPS [nf4]
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
nf4 = sys.argv[4:] == ["nf4"]
device = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU: does it run at all
batch, sequence = map(int, shape.split("x"))
settings = json.load(open(path))
config = AutoConfig.for_model(**settings)
torch.set_default_dtype(torch.bfloat16)
with torch.device(device):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.bfloat16)
if nf4:
    import bitsandbytes as bnb

    for parent in list(model.model.layers.modules()):
        for name, linear in list(parent.named_children()):
            if isinstance(linear, torch.nn.Linear):
                four = bnb.nn.Linear4bit(linear.in_features, linear.out_features, linear.bias is not None, torch.bfloat16, True, "nf4")
                four.weight = bnb.nn.Params4bit(linear.weight.data.cpu(), requires_grad=False, compress_statistics=True, quant_type="nf4")
                if linear.bias is not None:
                    four.bias = linear.bias
                setattr(parent, name, four.to(device))
    model.is_loaded_in_4bit = True
    if device == "cuda":
        torch.cuda.empty_cache()
model.config.use_cache = False
model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
model.enable_input_require_grads()
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, fused=device == "cuda")
model.train()
seconds = []
if device == "cuda":
    torch.cuda.reset_peak_memory_stats()
for step in range(steps + 2):
    x = torch.randint(0, config.vocab_size, (batch, sequence), device=device)
    device == "cpu" or torch.cuda.synchronize()
    begun = time.perf_counter()
    model(input_ids=x, labels=x).loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad()
    device == "cpu" or torch.cuda.synchronize()
    seconds.append(time.perf_counter() - begun)
print(json.dumps({
    "engine": "transformers+peft" + ("+bitsandbytes" if nf4 else ""), "torch": torch.__version__, "transformers": transformers.__version__, "config": path,
    "batch": batch, "seq": sequence, "tok_s": round(batch * sequence / statistics.median(seconds[2:]), 1),
    "ms_step": round(1e3 * statistics.median(seconds[2:]), 1),
    "device_peak_mb": round(torch.cuda.max_memory_allocated() / 2**20),
    "reserved_peak_mb": round(torch.cuda.max_memory_reserved() / 2**20)}))
