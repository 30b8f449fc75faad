"""A peer's encoding or training speed, as one JSON line in the form of bench_tokenizer.

usage: tokenizer.py encode ENGINE TOKENIZER_DIR TEXT PASSES THREADS wall|cpu      TEXT: documents between NUL bytes
       tokenizer.py train ENGINE TEXT VOCAB_SIZE THREADS wall|cpu

first is the first pass of the process, warm the median of PASSES further ones: most peers keep a cache of words, so only first is the
speed on text not seen before. With one document and one thread a plain encode call is timed, else the engine's batch call.
"""
import importlib.metadata
import json
import os
import resource
import statistics
import sys
import time

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def described(path):
    """For engines that take a vocabulary of bytes and one pattern."""
    with open(path, encoding="utf-8") as f:
        j = json.load(f)
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte_of = {chr(b): b for b in visible}
    byte_of.update({chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in visible)})
    added = {t["content"]: t["id"] for t in j["added_tokens"]}
    ranks = {bytes(byte_of[c] for c in t): i for t, i in j["model"]["vocab"].items() if t not in added}
    patterns = [p["pattern"]["Regex"] for p in j["pre_tokenizer"]["pretokenizers"] if p["type"] == "Split"]
    return ranks, "|".join(patterns), added, j


def hf(path, threads):
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(path)
    return (lambda x: t.encode(x, add_special_tokens=False).ids,
            lambda xs: [e.ids for e in t.encode_batch(xs, add_special_tokens=False)])


def tiktoken(path, threads):
    import tiktoken as module
    ranks, pattern, added, _ = described(path)
    t = module.Encoding(name="bench", pat_str=pattern, mergeable_ranks=ranks, special_tokens=added)
    return t.encode_ordinary, lambda xs: t.encode_ordinary_batch(xs, num_threads=threads)


def gigatoken(path, threads):
    import gigatoken as module
    t = module.Tokenizer(path)
    return t.encode, t.encode_batch


def fastokens(path, threads):
    import fastokens as module
    t = module.Tokenizer.from_file(path)
    plain = lambda e: e.ids if hasattr(e, "ids") else e
    return (lambda x: plain(t.encode(x, add_special_tokens=False)),
            lambda xs: [plain(e) for e in t.encode_batch(xs, add_special_tokens=False)])


def quicktok(path, threads):
    import quicktok as module
    if "qwen" not in path:
        raise ValueError("knows no chain of splits")
    t = module.get_encoding("qwen3")
    return t.encode_ordinary, t.encode_batch


def bpe_qwen(path, threads):
    import tempfile
    import bpe_qwen as module
    j = described(path)[3]
    with tempfile.TemporaryDirectory() as d:
        with open(f"{d}/vocab.json", "w", encoding="utf-8") as f:
            json.dump(j["model"]["vocab"], f, ensure_ascii=False)
        with open(f"{d}/merges.txt", "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n" + "".join((m if isinstance(m, str) else " ".join(m)) + "\n" for m in j["model"]["merges"]))
        t = module.QwenTokenizer(d)
    return t.encode, t.encode_batch_parallel


ENGINES = {"tokenizers": hf, "tiktoken": tiktoken, "gigatoken": gigatoken, "fastokens": fastokens, "quicktok-v1": quicktok,
           "bpe-qwen": bpe_qwen}


def flat(result):
    return [int(i) for i in (result.tolist() if hasattr(result, "tolist") else result)]


def encode(engine, folder, text_path, passes, threads, clock):
    began = clock()
    one, batch = ENGINES[engine](f"{folder}/tokenizer.json", threads)
    load_s = clock() - began
    with open(text_path, encoding="utf-8", newline="") as f:
        docs = f.read().split("\0")
    n_bytes = sum(len(d.encode()) for d in docs)
    seconds, result = [], None
    for _ in range(passes + 1):
        began, wall, cpu = clock(), time.perf_counter(), time.process_time()
        result = [one(docs[0])] if threads == 1 and len(docs) == 1 else batch(docs)
        seconds.append(clock() - began)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    digest, n_tokens = 0xCBF29CE484222325, 0
    if isinstance(result, tuple):  # all ids, and where documents begin
        result = [result[0]]
    for part in result:
        for i in flat(part):
            digest = (digest ^ i) * 0x100000001B3 % 2**64
            n_tokens += 1
    return dict(documents=len(docs), bytes=n_bytes, tokens=n_tokens, hash=f"{digest:016x}",
                first=round(n_bytes / seconds[0] / 1e6, 2), warm=round(n_bytes / statistics.median(seconds[1:]) / 1e6, 2),
                cpu_per_wall=round(cpu / wall, 2), load_s=round(load_s, 3))


def train(engine, text_path, vocab_size, threads, clock):
    with open(text_path, encoding="utf-8", newline="") as f:
        text = f.read()
    began = clock()
    if engine == "tokenizers":
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.train_from_iterator([text] if threads == 1 else text.splitlines(keepends=True), trainers.BpeTrainer(
            vocab_size=vocab_size, min_frequency=2, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    elif engine == "rustbpe":
        import rustbpe
        rustbpe.Tokenizer().train_from_iterator(iter(text.splitlines(keepends=True)), vocab_size=vocab_size, pattern=GPT2)
    elif engine == "gigabpe":
        import gigabpe
        gigabpe.train_bpe([text_path], vocab_size=vocab_size, pretokenizer="bytelevel", threads=threads)
    return dict(bytes=len(text.encode()), vocab_size=vocab_size, seconds=round(clock() - began, 4))


def main():
    kind, engine, *rest = sys.argv[1:]
    threads = int(rest[-2])
    clock = time.process_time if rest[-1] == "cpu" else time.perf_counter
    for name in ("RAYON_NUM_THREADS", "TOKENIZERS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    if kind == "encode":
        out = encode(engine, rest[0], rest[1], int(rest[2]), threads, clock)
    else:
        out = train(engine, rest[0], int(rest[1]), threads, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(engine=engine, version=importlib.metadata.version(engine), threads=threads, **out, peak_mib=round(peak, 1))))


main()
