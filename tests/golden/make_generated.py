"""What transformers generates greedily from the small random models of tests/fixtures: tests/fixtures/generated.json.

Usage: python tests/golden/make_generated.py [MODEL...]      (folders of tests/fixtures; all that are language models by default)

Float32, the whole sequence anew for each token, so that no cache of theirs is trusted. Each model goes on from a few prompts until a
token's logit leads by less than 1e-3 of the largest, where another order of summation might choose otherwise, or its end, or for 24 tokens.
"""
import json
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "fixtures")
MODELS = ["model_llama", "model_llama_tied", "model_qwen2", "model_qwen3", "model_v3", "model_v3_plain", "model_v2", "model_v2_lite",
          "model_moonlight"]
PROMPTS = [[3, 7, 1, 9, 11], [5], [12, 4, 4, 8, 2, 10, 6, 1, 3, 13, 9]]


@torch.no_grad()
def greedy(model, prompt):
    ids = list(prompt)
    while len(ids) < len(prompt) + 24:
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        best = torch.topk(logits, 2).values
        if best[0] - best[1] < 1e-3 * logits.abs().max():
            break
        if int(logits.argmax()) == model.config.eos_token_id:
            break
        ids.append(int(logits.argmax()))
    return ids[len(prompt):]


def main():
    torch.set_num_threads(1)
    path = os.path.join(FIXTURES, "generated.json")
    out = json.load(open(path)) if os.path.exists(path) else {}
    for name in sys.argv[1:] or MODELS:
        folder = os.path.join(FIXTURES, name)
        if not os.path.isdir(folder):
            continue
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, experts_implementation="eager").eval()
        out[name] = [{"ids": p, "then": greedy(model, p)} for p in PROMPTS]
        print(name, [len(o["then"]) for o in out[name]])
    with open(path, "w") as f:
        f.write("{\n" + ",\n".join(f'"{k}": {json.dumps(out[k])}' for k in sorted(out)) + "\n}\n")


if __name__ == "__main__":
    main()
