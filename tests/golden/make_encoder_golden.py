"""Makes tests/fixtures/encoder_*: small random sentence encoders and what PyTorch computes of them.

    python tests/golden/make_encoder_golden.py

Each folder holds an encoder (config.json, model.safetensors, for some the files of sentence-transformers) and golden.safetensors:
`hidden` [T, D], the last layer's rows of all texts one behind the other, `embedding` [B, D], and the ids ("1,2;3,4,5") in the metadata.
BERT and XLM-R are transformers' own modules, one text at a time; the gte model is not part of transformers, so it is written here
from its equations (Alibaba-NLP/new-impl). All in float64 on the stored weights.
"""
import json
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")
LENGTHS = [7, 1, 33, 12]


def write(folder, name, value):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def randomise(parameters):
    """Weights large enough that attention, norms and biases all matter."""
    for name, p in parameters:
        p.data.normal_(0, 1.2 / p.shape[-1] ** 0.5 if p.dim() == 2 else 0.3)
        if name.endswith(("LayerNorm.weight", "_ln.weight")):
            p.data.add_(1)


def texts(vocab, first):
    return [torch.randint(first, vocab, (1, n)) for n in LENGTHS]


def finish(folder, weights, ids, hidden, cls):
    embedding = [F.normalize(h[0] if cls else h.mean(0), dim=-1) for h in hidden]
    save_file({k: v.contiguous() for k, v in weights.items()}, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    golden = dict(hidden=torch.cat(hidden).float(), embedding=torch.stack(embedding).float())
    save_file(golden, os.path.join(folder, "golden.safetensors"),
              metadata={"ids": ";".join(",".join(str(i) for i in t[0].tolist()) for t in ids)})


def transformers_one(name, config, model_class, prefix="", cls=False, modules=False, **said):
    folder = os.path.join(FIXTURES, "encoder_" + name)
    os.makedirs(folder, exist_ok=True)
    model = model_class(config).eval()
    randomise(model.named_parameters())
    weights = {prefix + k: v.float() for k, v in model.state_dict().items() if "position_ids" not in k and "token_type_ids" not in k}
    model.double()
    with torch.inference_mode():
        ids = texts(config.vocab_size, 3)
        hidden = [model(input_ids=t).last_hidden_state[0] for t in ids]
    write(folder, "config.json", dict(config.to_dict(), **said))
    if modules:
        base = "sentence_transformers.models."
        write(folder, "modules.json", [dict(idx=0, name="0", path="", type=base + "Transformer"), dict(idx=1, name="1", path="1_Pooling", type=base + "Pooling"),
                                       dict(idx=2, name="2", path="2_Normalize", type=base + "Normalize")])
        write(folder, "sentence_bert_config.json", dict(max_seq_length=36, do_lower_case=False))
        write(folder, "1_Pooling/config.json", dict(word_embedding_dimension=config.hidden_size, pooling_mode_cls_token=cls, pooling_mode_mean_tokens=not cls,
                                                    pooling_mode_max_tokens=False, pooling_mode_mean_sqrt_len_tokens=False))
    finish(folder, weights, ids, hidden, cls)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def gte_forward(w, c, ids):
    D, H = c["hidden_size"], c["num_attention_heads"]
    d, T = D // H, len(ids)
    theta, factor = c["rope_theta"], c["rope_scaling"]["factor"]
    frequency = (theta * factor) ** (-torch.arange(0, d, 2).double() / d) / factor ** (2 / d)
    angle = torch.outer(torch.arange(T).double(), frequency)
    angle = torch.cat((angle, angle), -1)
    norm = lambda x, name: F.layer_norm(x, (D,), w[name + ".weight"], w[name + ".bias"], c["layer_norm_eps"])
    x = norm(w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for i in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        q, k, v = (x @ w[p + "attention.qkv_proj.weight"].T + w[p + "attention.qkv_proj.bias"]).view(T, 3, H, d).permute(1, 2, 0, 3)
        q, k = rotate(q, angle.cos(), angle.sin()), rotate(k, angle.cos(), angle.sin())
        y = torch.softmax(q @ k.transpose(1, 2) / d ** 0.5, -1) @ v
        y = y.transpose(0, 1).reshape(T, D) @ w[p + "attention.o_proj.weight"].T + w[p + "attention.o_proj.bias"]
        x = norm(x + y, p + "attn_ln")
        up, gate = (x @ w[p + "mlp.up_gate_proj.weight"].T).chunk(2, -1)
        x = norm(x + (F.gelu(gate) * up) @ w[p + "mlp.down_proj.weight"].T + w[p + "mlp.down_proj.bias"], p + "mlp_ln")
    return x


def gte():
    folder = os.path.join(FIXTURES, "encoder_gte")
    os.makedirs(folder, exist_ok=True)
    c = dict(model_type="new", vocab_size=70, hidden_size=40, num_hidden_layers=2, num_attention_heads=2, intermediate_size=52, hidden_act="gelu",
             max_position_embeddings=64, type_vocab_size=1, layer_norm_eps=1e-12, layer_norm_type="layer_norm", pack_qkv=True,
             position_embedding_type="rope", rope_theta=20000, rope_scaling=dict(type="ntk", factor=8.0), pad_token_id=1, logn_attention_scale=False)
    D, G = c["hidden_size"], c["intermediate_size"]
    shapes = {"embeddings.word_embeddings.weight": (c["vocab_size"], D), "embeddings.token_type_embeddings.weight": (1, D),
              "embeddings.LayerNorm.weight": (D,), "embeddings.LayerNorm.bias": (D,)}
    for i in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        for name, shape in {"attention.qkv_proj.weight": (3 * D, D), "attention.qkv_proj.bias": (3 * D,), "attention.o_proj.weight": (D, D),
                            "attention.o_proj.bias": (D,), "attn_ln.weight": (D,), "attn_ln.bias": (D,), "mlp.up_gate_proj.weight": (2 * G, D),
                            "mlp.down_proj.weight": (D, G), "mlp.down_proj.bias": (D,), "mlp_ln.weight": (D,), "mlp_ln.bias": (D,)}.items():
            shapes[p + name] = shape
    weights = {k: torch.empty(s) for k, s in shapes.items()}
    randomise(weights.items())
    weights = {k: v.half() for k, v in weights.items()}  # stored in float16, as the real one is
    ids = texts(c["vocab_size"], 2)
    hidden = [gte_forward({k: v.double() for k, v in weights.items()}, c, t[0]) for t in ids]
    write(folder, "config.json", c)
    finish(folder, {"new." + k: v for k, v in weights.items()}, ids, hidden, cls=True)


if __name__ == "__main__":
    torch.manual_seed(11)
    small = dict(hidden_act="gelu", attn_implementation="eager")
    transformers_one("bert", BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=44,
                                        max_position_embeddings=40, type_vocab_size=2, **small), BertModel, modules=True)
    transformers_one("bert_cls", BertConfig(vocab_size=60, hidden_size=36, num_hidden_layers=1, num_attention_heads=2, intermediate_size=50,
                                            max_position_embeddings=40, type_vocab_size=2, **small), BertModel, prefix="bert.", cls=True, modules=True)
    transformers_one("xlmr", XLMRobertaConfig(vocab_size=560, hidden_size=30, num_hidden_layers=2, num_attention_heads=3, intermediate_size=41,
                                              max_position_embeddings=42, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, **small), XLMRobertaModel, prefix="roberta.")
    gte()
