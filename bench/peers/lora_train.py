"""LoRA steps with transformers and peft on a checkpoint folder, the peer of bench/finetune.sh: r 16 on all linear layers, float32, AdamW.

usage: lora_train.py FOLDER SEQUENCESxTOKENS STEPS
"""
import os
import resource
import statistics
import sys
import time
import warnings

warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

folder, shape, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
batch, sequence = map(int, shape.split("x"))
torch.set_num_threads(len(os.sched_getaffinity(0)))
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
model.config.use_cache = False
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
rates = []
for step in range(steps):
    x = torch.randint(0, 256, (batch, sequence + 1))
    begun = time.perf_counter()
    model(input_ids=x[:, :-1], labels=x[:, 1:].contiguous()).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    rates.append(batch * sequence / (time.perf_counter() - begun))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"peft f32   {statistics.median(rates[1:]):8.0f} tokens/s   peak memory {peak:.2f} GiB, with the interpreter")
