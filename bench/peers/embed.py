"""A peer's embedding speed, as one JSON line in the form of bench_embed, and what both sides are fed with.

usage: embed.py st|torch|onnxruntime MODEL_DIR TOKENS BATCH THREADS SECONDS       sentences of exactly TOKENS tokens out of TEXT
       embed.py gte - TOKENS BATCH THREADS SECONDS       a gte-multilingual-base shape in torch, random weights
       embed.py make-gte DIR                             such a folder for our side, float16 as the real one is
       embed.py vectors MODEL_DIR IDS_FILE OUT.npy       ids of sentences, cut where the folder says, and their vectors by sentence-transformers
       embed.py cosine A.npy B.npy                       the smallest cosine of rows

st: encode of sentence-transformers, tokenizer and pooling included. torch, onnxruntime: the encoder alone, ids ready. The environment
names TEXT (a file of prose) and WORK (where the exported encoder is kept).
"""
import json
import os
import resource
import statistics
import sys
import time

WARM, LEAST, MOST = 3, 7, 4000


def settle(threads):
    os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1",
                      TRANSFORMERS_OFFLINE="1")
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    return torch


def timed(f, seconds):
    for _ in range(WARM):
        f()
    times, end = [], time.perf_counter() + seconds
    while len(times) < LEAST or (time.perf_counter() < end and len(times) < MOST):
        begun = time.perf_counter()
        f()
        times.append(time.perf_counter() - begun)
    return sorted(times)


def report(engine, version, threads, tokens, batch, times):
    ms = 1e3 * statistics.median(times)
    print(json.dumps(dict(engine=engine, version=version, threads=threads, tokens=tokens, batch=batch, ms=round(ms, 3), ms_min=round(1e3 * times[0], 3),
                          ms_max=round(1e3 * times[-1], 3), sent_per_s=round(1e3 * batch / ms, 2), runs=len(times),
                          peak_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1))))


def tokenizer_of(model):
    from tokenizers import Tokenizer
    tok = Tokenizer.from_file(model + "/tokenizer.json")
    tok.no_padding()
    tok.no_truncation()
    return tok


def sentences(tok, tokens, count):
    """Consecutive pieces of the text that have at most, and nearly always exactly, so many tokens, the special ones included."""
    with open(os.environ["TEXT"], encoding="utf-8") as f:
        words = f.read()[5000:400000].split()
    out, i = [], 0
    while len(out) < count:
        k = 1
        while len(tok.encode(" ".join(words[i:i + k + 1])).ids) <= tokens:
            k += 1
        out.append(" ".join(words[i:i + k]))
        i += k
    return out


def sentence_transformers(model, tokens, batch, threads, seconds):
    settle(threads)
    import sentence_transformers as module
    m = module.SentenceTransformer(model, device="cpu")
    s = sentences(tokenizer_of(model), tokens, batch)
    encode = lambda: m.encode(s, batch_size=batch, show_progress_bar=False, convert_to_numpy=True, normalize_embeddings=True)
    report("sentence-transformers", module.__version__, threads, tokens, batch, timed(encode, seconds))


def ready(model, tokens, batch):
    import numpy as np
    ids = [tokenizer_of(model).encode(s).ids for s in sentences(tokenizer_of(model), tokens, batch)]
    n = max(map(len, ids))
    a, mask = np.zeros((batch, n), np.int64), np.zeros((batch, n), np.int64)
    for row, v in enumerate(ids):
        a[row, :len(v)], mask[row, :len(v)] = v, 1
    return a, mask


def torch_encoder(model, tokens, batch, threads, seconds):
    torch = settle(threads)
    from transformers import AutoModel
    m = AutoModel.from_pretrained(model).eval()
    a, mask = map(torch.from_numpy, ready(model, tokens, batch))
    with torch.inference_mode():
        report("torch", torch.__version__, threads, tokens, batch, timed(lambda: m(input_ids=a, attention_mask=mask), seconds))


def export(model, path):
    torch = settle(2)
    from transformers import AutoModel
    m = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.m = m

        def forward(self, i, a, t):
            return self.m(input_ids=i, attention_mask=a, token_type_ids=t).last_hidden_state

    z = torch.ones(2, 16, dtype=torch.long)
    axes = {0: "b", 1: "s"}
    torch.onnx.export(Last().eval(), (z, z, z), path, input_names=["i", "a", "t"], output_names=["h"],
                      dynamic_axes=dict(i=axes, a=axes, t=axes, h=axes), opset_version=17, dynamo=False)


def onnxruntime(model, tokens, batch, threads, seconds):
    import numpy as np
    import onnxruntime as module
    path = os.path.join(os.environ["WORK"], "encoder.onnx")
    if not os.path.exists(path):
        export(model, path)
        os.execv(sys.executable, [sys.executable, *sys.argv])  # memory without torch
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    session = module.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    a, mask = ready(model, tokens, batch)
    feed = dict(i=a, a=mask, t=np.zeros_like(a))
    report("onnxruntime", module.__version__, threads, tokens, batch, timed(lambda: session.run(None, feed), seconds))


# ---- gte-multilingual-base's shape ----
H, L, N, G, V, THETA, FACTOR = 768, 12, 12, 3072, 250048, 20000, 8.0


def gte_model(torch):
    nn, F = torch.nn, torch.nn.functional

    def turn(x):
        a, b = x.chunk(2, -1)
        return torch.cat((-b, a), -1)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.o = nn.Linear(H, 3 * H), nn.Linear(H, H)
            self.up, self.down = nn.Linear(H, 2 * G, bias=False), nn.Linear(G, H)
            self.n1, self.n2 = nn.LayerNorm(H), nn.LayerNorm(H)

        def forward(self, x, cos, sin):
            B, T, _ = x.shape
            q, k, v = self.qkv(x).view(B, T, 3, N, H // N).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q * cos + turn(q) * sin, k * cos + turn(k) * sin, v).transpose(1, 2).reshape(B, T, H)
            x = self.n1(x + self.o(y))
            up, gate = self.up(x).chunk(2, -1)
            return self.n2(x + self.down(F.gelu(gate) * up))

    class Gte(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.n = nn.Embedding(V, H), nn.LayerNorm(H)
            self.l = nn.ModuleList(Layer() for _ in range(L))

        def forward(self, ids):
            f = (THETA * FACTOR) ** (-torch.arange(0, H // N, 2) / (H // N)) / FACTOR ** (2 * N / H)
            f = torch.outer(torch.arange(ids.shape[1]), f)
            f = torch.cat((f, f), -1)
            x, cos, sin = self.n(self.e(ids)), f.cos(), f.sin()
            for layer in self.l:
                x = layer(x, cos, sin)
            return F.normalize(x[:, 0], dim=-1)

    return Gte().eval()


def gte(_, tokens, batch, threads, seconds):
    torch = settle(threads)
    m = gte_model(torch)
    ids = torch.randint(0, V, (batch, tokens))
    with torch.inference_mode():
        report("torch, gte shape", torch.__version__, threads, tokens, batch, timed(lambda: m(ids), seconds))


def make_gte(folder):
    torch = settle(2)
    from safetensors.torch import save_file
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(dict(model_type="new", vocab_size=V, hidden_size=H, num_hidden_layers=L, num_attention_heads=N, intermediate_size=G, hidden_act="gelu",
                       max_position_embeddings=8192, type_vocab_size=1, layer_norm_eps=1e-12, layer_norm_type="layer_norm", pack_qkv=True,
                       position_embedding_type="rope", rope_theta=THETA, rope_scaling=dict(type="ntk", factor=FACTOR), pad_token_id=1), f)
    small = lambda *shape: (0.02 * torch.randn(shape)).half()
    ones = lambda: torch.ones(H).half()
    w = {"embeddings.word_embeddings.weight": small(V, H), "embeddings.token_type_embeddings.weight": small(1, H),
         "embeddings.LayerNorm.weight": ones(), "embeddings.LayerNorm.bias": small(H)}
    for i in range(L):
        p = f"encoder.layer.{i}."
        w |= {p + "attention.qkv_proj.weight": small(3 * H, H), p + "attention.qkv_proj.bias": small(3 * H), p + "attention.o_proj.weight": small(H, H),
              p + "attention.o_proj.bias": small(H), p + "attn_ln.weight": ones(), p + "attn_ln.bias": small(H),
              p + "mlp.up_gate_proj.weight": small(2 * G, H), p + "mlp.down_proj.weight": small(H, G), p + "mlp.down_proj.bias": small(H),
              p + "mlp_ln.weight": ones(), p + "mlp_ln.bias": small(H)}
    save_file(w, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


def vectors(model, ids_path, out):
    settle(2)
    import numpy as np
    from sentence_transformers import SentenceTransformer
    m, tok = SentenceTransformer(model, device="cpu"), tokenizer_of(model)
    texts = [s for tokens in (5, 32, 128, 400) for s in sentences(tok, tokens, 16)]
    with open(ids_path, "w", encoding="utf-8") as f:
        for s in texts:
            ids = tok.encode(s).ids
            if len(ids) > m.max_seq_length:
                ids = ids[:m.max_seq_length - 1] + ids[-1:]
            f.write(",".join(map(str, ids)) + "\n")
    np.save(out, m.encode(texts, batch_size=8, show_progress_bar=False, normalize_embeddings=True))


def cosine(a_path, b_path):
    import numpy as np
    a, b = np.load(a_path).astype(float), np.load(b_path).astype(float)
    c = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    print(f"{len(c)} texts: smallest cosine {c.min():.9f}, largest difference {abs(a - b).max():.2e}")


ENGINES = {"st": sentence_transformers, "torch": torch_encoder, "onnxruntime": onnxruntime, "gte": gte}
OTHERS = {"make-gte": make_gte, "vectors": vectors, "cosine": cosine}

if sys.argv[1] in OTHERS:
    OTHERS[sys.argv[1]](*sys.argv[2:])
else:
    ENGINES[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:6]), float(sys.argv[6]))
