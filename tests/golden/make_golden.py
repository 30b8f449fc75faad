"""Makes tests/fixtures/model_*: small random checkpoints of each family and what transformers computes of them.

    python tests/golden/make_golden.py [NAME ...]

Each folder holds a checkpoint (config.json, model.safetensors, ...) and golden.safetensors: `logits` [T, V], `grad.NAME` and
`after.NAME` (five AdamW steps of lr 1e-3 on the one sequence) under the checkpoint's names, ids, loss and the losses of the steps in
the metadata. Seeds are tried until no gradient of the five steps is nothing but rounding (Adam would move such an entry by a full
step in a random direction, in every program). The model runs in float64 on the float32 weights (transformers itself still computes norms, rotary tables and the
router in float32), so that what is compared with is the better truth of the two.
"""
import json
import os
import shutil
import sys

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DeepseekV2Config, DeepseekV3Config, LlamaConfig, Qwen2Config, Qwen3Config

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "fixtures")
T, STEPS, LR = 24, 5, 1e-3

SMALL = dict(vocab_size=48, hidden_size=20, intermediate_size=28, moe_intermediate_size=7, num_hidden_layers=3,
             num_attention_heads=3, num_key_value_heads=3, n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=3,
             n_group=1, topk_group=1, first_k_dense_replace=1, kv_lora_rank=10, q_lora_rank=None, qk_nope_head_dim=6,
             qk_rope_head_dim=4, v_head_dim=5, max_position_embeddings=128, tie_word_embeddings=False, bos_token_id=0,
             eos_token_id=1, use_cache=False)

GQA = dict(vocab_size=48, hidden_size=24, intermediate_size=28, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
           max_position_embeddings=128, tie_word_embeddings=False, bos_token_id=0, eos_token_id=1, use_cache=False)


def yarn(mscale, factor=40.0, original=16, **more):
    return dict(rope_type="yarn", rope_theta=10000.0, factor=factor, beta_fast=32, beta_slow=1, mscale=mscale,
                mscale_all_dim=mscale, original_max_position_embeddings=original, **more)


# name: (config class, changes to SMALL, how it is stored)
VARIANTS = {
    # everything that V3 has: low-rank queries, groups, YaRN, a correction bias; and tensors of a next-token-prediction layer
    "v3": (DeepseekV3Config, dict(q_lora_rank=9, n_group=4, topk_group=2, rope_parameters=yarn(1.0)), dict(mtp=True)),
    # plain queries, odd sizes, many shared experts, tied embeddings, the hub's spelling, shards
    "v3_plain": (DeepseekV3Config, dict(hidden_size=19, n_shared_experts=3, n_routed_experts=5, num_experts_per_tok=2, moe_intermediate_size=5,
                                        routed_scaling_factor=1.7, tie_word_embeddings=True, num_attention_heads=2, num_key_value_heads=2,
                                        v_head_dim=7, qk_nope_head_dim=3, qk_rope_head_dim=6, kv_lora_rank=11),
                 dict(hub=True, shards="20KB")),
    # weights not normalised, YaRN with mscale and mscale_all_dim that differ and an original length below the sequence's
    "v3_unnormed": (DeepseekV3Config, dict(norm_topk_prob=False, n_group=2, topk_group=1, num_experts_per_tok=2, q_lora_rank=6, num_hidden_layers=2,
                                           rope_parameters=dict(yarn(0.9, factor=4.0, original=32), mscale_all_dim=0.5)), dict(hub=True)),
    "moonlight": (DeepseekV3Config, dict(n_shared_experts=2, rms_norm_eps=1e-5, routed_scaling_factor=2.446, num_hidden_layers=2,
                                         rope_parameters=dict(rope_type="default", rope_theta=50000.0)), dict(dtype="bfloat16")),
    "v2_lite": (DeepseekV2Config, dict(hidden_size=21, n_shared_experts=2, topk_method="greedy", routed_scaling_factor=1.0, norm_topk_prob=False,
                                       rope_parameters=yarn(0.707)), dict(hub=True)),
    "v2": (DeepseekV2Config, dict(hidden_size=18, q_lora_rank=9, n_group=4, topk_group=2, topk_method="group_limited_greedy", routed_scaling_factor=1.5,
                                  norm_topk_prob=False, n_shared_experts=1, num_hidden_layers=2), dict(dtype="float16")),
    # Llama 3.1's scaling with an original length that puts frequencies in all three ranges; grouped heads
    "llama": (LlamaConfig, dict(num_attention_heads=6, num_key_value_heads=2, hidden_size=30, head_dim=10, rms_norm_eps=1e-5,
                                rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                     original_max_position_embeddings=64)), dict(hub=True)),
    # tied, as SmolLM2; one head of keys for each of queries; an odd hidden size
    "llama_tied": (LlamaConfig, dict(hidden_size=21, num_attention_heads=3, num_key_value_heads=3, head_dim=6, tie_word_embeddings=True,
                                     num_hidden_layers=2), dict(dtype="bfloat16")),
    "qwen2": (Qwen2Config, dict(tie_word_embeddings=True, num_hidden_layers=2, hidden_size=16, intermediate_size=20, rope_parameters=dict(rope_type="default", rope_theta=100.0)), dict(hub=True, shards="8KB")),
    "qwen3": (Qwen3Config, dict(head_dim=8, num_key_value_heads=1, hidden_size=19, num_hidden_layers=2, num_attention_heads=3, rope_parameters=dict(rope_type="default", rope_theta=100.0)), dict()),
}


def randomise(model, seed):
    """Weights large enough that attention, routing and norms all matter."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in list(model.named_parameters()) + list(model.named_buffers()):
            if "inv_freq" in name:
                continue
            r = torch.randn(p.shape, generator=g)
            if "e_score_correction_bias" in name:
                p.copy_(0.1 * r)
            elif "norm" in name:
                p.copy_(1 + 0.2 * r)
            elif name.endswith("gate.weight"):
                p.copy_(0.5 * r)
            else:
                p.copy_((0.8 if "embed" in name else 0.35) * r)


def hub_spelling(path):
    """rope_theta, rope_scaling and torch_dtype, as the files on the hub have them."""
    with open(path) as f:
        c = json.load(f)
    rope = c.pop("rope_parameters")
    c["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    rope.pop("type", None)
    c["rope_scaling"] = None if kind == "default" else dict(rope, type=kind)
    c["torch_dtype"] = c.pop("dtype")
    with open(path, "w") as f:
        json.dump(c, f, indent=2)


def split_experts(tensors):
    """transformers' fused experts under the checkpoint's names."""
    out = {}
    for name, t in tensors.items():
        if name.endswith("experts.gate_up_proj"):
            half = t.shape[1] // 2
            for e in range(t.shape[0]):
                out[name.replace("gate_up_proj", f"{e}.gate_proj.weight")] = t[e, :half]
                out[name.replace("gate_up_proj", f"{e}.up_proj.weight")] = t[e, half:]
        elif name.endswith("experts.down_proj"):
            for e in range(t.shape[0]):
                out[name.replace("down_proj", f"{e}.down_proj.weight")] = t[e]
        else:
            out[name] = t
    return {k: v.detach().to(torch.float32).contiguous().clone() for k, v in out.items()}


def add_mtp(folder, cfg):
    path = os.path.join(folder, "model.safetensors")
    with safe_open(path, "pt") as f:
        meta = f.metadata()
    t = load_file(path)
    layer = f"model.layers.{cfg.num_hidden_layers}."
    d = cfg.hidden_size
    t[layer + "enorm.weight"] = torch.ones(d)
    t[layer + "eh_proj.weight"] = torch.zeros(d, 2 * d)
    t[layer + "shared_head.norm.weight"] = torch.ones(d)
    save_file(t, path, meta)


def smallest_share(model):
    """The smallest non-zero gradient over the largest of its tensor."""
    share = 1.0
    for p in model.parameters():
        if p.grad is not None and p.grad.abs().max() > 0:
            g = p.grad.abs() / p.grad.abs().max()
            share = min(share, float(g[g > 0].min()))
    return share


def make(name, seed):
    cls, changes, store = VARIANTS[name]
    cfg = cls(**dict(SMALL if "deepseek" in cls.model_type else GQA, **changes))
    if cls is DeepseekV2Config:
        cfg.num_nextn_predict_layers = 0
    cfg._attn_implementation = "eager"
    cfg._experts_implementation = "eager"
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(cfg)
    randomise(model, seed)
    folder = os.path.join(FIXTURES, "model_" + name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    dtype = getattr(torch, store.get("dtype", "float32"))
    model.to(dtype).save_pretrained(folder, max_shard_size=store.get("shards", "5GB"))
    if os.path.exists(os.path.join(folder, "generation_config.json")):
        os.remove(os.path.join(folder, "generation_config.json"))
    if store.get("hub"):
        hub_spelling(os.path.join(folder, "config.json"))
    # what was stored, read again, is the model
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.config._experts_implementation = "eager"
    model = model.double().train()
    if store.get("mtp"):
        add_mtp(folder, cfg)
    g = torch.Generator().manual_seed(seed + 1)
    ids = torch.randint(0, cfg.vocab_size, (1, T), generator=g)
    out = model(input_ids=ids, labels=ids, use_cache=False)
    out.loss.backward()
    grads = split_experts({n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in model.named_parameters()})
    loads = [int((v != 0).any()) for k, v in grads.items() if ".experts." in k and "gate_proj" in k]
    golden = {"logits": out.logits[0].detach().float().contiguous()}
    golden.update({"grad." + k: v for k, v in grads.items()})
    losses = [float(out.loss)]
    model.zero_grad()
    opt = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    for _ in range(STEPS):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        opt.zero_grad()
        loss.backward()
        if smallest_share(model) < 4e-6:
            return False
        opt.step()
        losses.append(float(loss.detach()))
    golden.update({"after." + k: v for k, v in split_experts(dict(model.named_parameters())).items()})
    meta = {"ids": ",".join(str(int(i)) for i in ids[0]), "loss": repr(losses[0]), "step_losses": json.dumps(losses[1:]),
            "steps": str(STEPS), "lr": repr(LR), "seed": str(seed), "torch": torch.__version__, "transformers": transformers.__version__}
    save_file(golden, os.path.join(folder, "golden.safetensors"), meta)
    n = sum(p.numel() for p in model.parameters())
    print(f"{name}: {n} parameters, loss {losses[0]:.6f}, experts with tokens {sum(loads)} of {len(loads)}, seed {seed}")
    return True


if __name__ == "__main__":
    for i, name in enumerate(VARIANTS):
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            seed = 100 + i
            while not make(name, seed):
                seed += 1000
