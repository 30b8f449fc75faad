"""Makes the tokenizers' fixtures with Hugging Face's tokenizers.

    python tests/golden/make_tokenizer_golden.py [SHARED/data/tokenizers]        (needs: pip install tokenizers)

For each small tokenizer, trained on tokenizer_corpus.txt: tokenizer_NAME.json and tokenizer_NAME_cases.jsonl, whose lines hold a text, its ids
without and with the post-processor, and what these decode to. With the folder of real tokenizers also real_NAME_cases.jsonl (ids of
qwen2 and deepseek_v3, whose files are not committed), with the number and a hash of the ids of promessi_sposi in the last line.
"""
import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, processors, trainers
from tokenizers import decoders, pre_tokenizers as pre

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = open(f"{HERE}/tokenizer_corpus.txt", encoding="utf-8", newline="").read()
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]


def split(pattern, behavior="isolated", invert=False):
    return pre.Split(Regex(pattern), behavior, invert)


def bytes_after(*parts, add_prefix_space=False, use_regex=False):
    level = pre.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)
    return pre.Sequence([*parts, level]) if parts else level


def train(pre_tokenizer, normalizer=None, vocab_size=600):
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator([CORPUS], trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, show_progress=False, special_tokens=["<|bos|>", "<|eos|>"],
        initial_alphabet=pre.ByteLevel.alphabet()))
    return t


def gpt2():
    t = train(bytes_after(use_regex=True))
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def prefixed():  # RoBERTa's way: a space in front, <s> and </s> around, NFC in a Sequence
    t = train(bytes_after(use_regex=True, add_prefix_space=True), normalizers.Sequence([normalizers.NFC()]))
    t.post_processor = processors.RobertaProcessing(("<|eos|>", 1), ("<|bos|>", 0))
    return t


def smollm():
    return train(bytes_after(pre.Digits(individual_digits=True), use_regex=True))


def qwen2():
    return train(bytes_after(split(QWEN2)), normalizers.NFC())


def deepseek():
    return train(bytes_after(*map(split, DEEPSEEK)))


def llama3():  # merges in the older form, ignore_merges, a template, a run of reserved tokens
    t = train(bytes_after(split(LLAMA3)))
    t.add_special_tokens([AddedToken(f"<|reserved_{i}|>", special=True, normalized=False) for i in range(8)])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A <|bos|>:1 $B:1", special_tokens=[("<|bos|>", 0)])])
    j = json.loads(t.to_str())
    j["model"]["ignore_merges"] = True
    j["model"]["merges"] = [" ".join(m) for m in j["model"]["merges"]][:150]  # so that some tokens can't be merged
    return Tokenizer.from_str(json.dumps(j))


def odd():  # what is rarely used: behaviours, strings, invert, digits in runs, all habits of added tokens, a byte that is missing
    t = train(bytes_after(
        pre.Digits(individual_digits=False), pre.Split("a", "merged_with_previous"), split("[.,;]+", "merged_with_next"),
        split(r"\s+", "contiguous"), split(r"[^x]+", "removed", True), split(r"(?=[A-Z])"), split("e|è", "removed"), use_regex=True),
        normalizers.NFC(), 560)
    t.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A <|eos|> <|bos|>", pair="$A $B", special_tokens=[("<|bos|>", 0), ("<|eos|>", 1)])
    t.add_tokens([AddedToken("[L]", lstrip=True), AddedToken("[R]", rstrip=True, normalized=False),
                  AddedToken("parola", single_word=True), AddedToken("cafe\u0301"), AddedToken("  ", rstrip=True, normalized=False),
                  AddedToken("[LL]", lstrip=True, rstrip=True, normalized=False), AddedToken("[L][L]")])
    t.add_special_tokens([AddedToken("[S]", single_word=True)])
    j = json.loads(t.to_str())
    return Tokenizer.from_str(json.dumps(j))


def spm():  # Llama 2's way: characters, bytes for those that are none, signs for spaces, <s> in front
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    special = [AddedToken(x, special=True, normalized=False) for x in ("<unk>", "<s>", "</s>")]
    words = (w for line in CORPUS.splitlines() for w in line.replace(" ", " \0").split("\0"))  # no merges across words, but for signs
    t.train_from_iterator(words, trainers.BpeTrainer(vocab_size=900, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=60))
    j = json.loads(t.to_str())
    j["added_tokens"] = j["added_tokens"][:3]  # the bytes are tokens like others
    t = Tokenizer.from_str(json.dumps(j))
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return t


SMALL = dict(gpt2=gpt2, prefixed=prefixed, smollm=smollm, qwen2=qwen2, deepseek=deepseek, llama3=llama3, odd=odd, spm=spm)

FIXED = ["", " ", "  ", "\n", " \n", "\n ", "\r\n\r\n", "a", "Ciao mondo", " Ciao  mondo ", "perché è così", "un po' d'acqua", "IT'S they'LL I'VE",
         "'s 'S '\u017f", "1234567 89", "٣٤٥ ½ Ⅷ", "a\u0301e\u0323\u0302 \u0301x", "\u1100\u1161\u11a8", "你好，世界！ア・イーウ゛漢字", "🙂👨‍👩‍👧🇮🇹", "\x00\x01\x7f",
         "\u180e\u200b\ufeff\u2028\u0085", "\U0010ffff\ue000\u0378", "<|bos|>ciao<|eos|>", "<|bos|", "x <|bos|> y", "a" * 200, "=" * 80, " " * 70 + "x",
         "\t\tif x:\n\t\t\treturn", "foo_bar(baz)[0]->qux;\n\n\n  end", "«Quanto manca?» domandò", "!!!\n\n???\r\nx", "…–—“”’", "\u0958\ufa10\u212b"]
ODD = ["parola parole parola, xparola parola2 parolà", "a [L] b[L]  [L][L] c", "x [R]  y[R]\n\nz", "café cafe\u0301 CAFÉ", "a   b    c      ", "q  [LL]  [R] [LL]",
       "[S][S] [S]x x[S] [S]", "\u3000[L]\u3000[R]\u3000", "[R][L] [R] [L]", "parola\u0301 parola\u200d"]


def texts_for(t, seed, n):
    rnd = random.Random(seed)
    added = [a.content for a in t.get_added_tokens_decoder().values()]
    words = CORPUS.split() + FIXED + ODD + added[:20]
    space = list(" \t\n\r\x0b\x85\xa0\u2003\u2028\u3000") + ["  ", " \n", "\n\n", "\r\n"]

    def piece():
        k = rnd.random()
        if k < 0.35:
            return rnd.choice(words)
        if k < 0.6:
            return rnd.choice(space)
        if k < 0.8:
            return chr(rnd.randrange(33, 127))
        c = rnd.choice([rnd.randrange(0x80, 0x800), rnd.randrange(0x300, 0x370), rnd.randrange(0x3040, 0x3100), rnd.randrange(0x800, 0xD800), rnd.randrange(0xE000, 0x20000)])
        return chr(c)

    return FIXED + ODD + ["".join(piece() for _ in range(rnd.randrange(1, 9))) for _ in range(n)]


def write_cases(path, t, seed, n):
    with open(path, "w", encoding="utf-8") as f:
        for text in texts_for(t, seed, n):
            ids, special = t.encode(text, add_special_tokens=False).ids, t.encode(text).ids
            case = {"text": text, "ids": ids}
            if special != ids:
                case["special"] = special
            decoded = t.decode(ids, skip_special_tokens=False)
            if decoded != text:
                case["decoded"] = decoded
            f.write(json.dumps(case, ensure_ascii=True, separators=(",", ":")) + "\n")


def main():
    for i, (name, make) in enumerate(SMALL.items()):
        t = make()
        if name == "llama3":  # HF would write the newer form of the merges
            j = json.loads(t.to_str())
            j["model"]["merges"] = [" ".join(m) for m in j["model"]["merges"]]
            json.dump(j, open(f"{HERE}/tokenizer_{name}.json", "w", encoding="utf-8"), ensure_ascii=False, indent=0)
        else:
            json.dump(json.loads(t.to_str()), open(f"{HERE}/tokenizer_{name}.json", "w", encoding="utf-8"), ensure_ascii=False, indent=0)
        write_cases(f"{HERE}/tokenizer_{name}_cases.jsonl", t, i, 120)
    for i, name in enumerate(("qwen2", "deepseek_v3")):
        if len(sys.argv) < 2:
            break
        t = Tokenizer.from_file(f"{sys.argv[1]}/{name}/tokenizer.json")
        write_cases(f"{HERE}/real_{name}_cases.jsonl", t, 100 + i, 250)
        novel = open(f"{sys.argv[1]}/../promessi_sposi/promessi_sposi.txt", encoding="utf-8", newline="").read()
        ids = t.encode(novel, add_special_tokens=False).ids
        digest = 0xCBF29CE484222325  # FNV-1a over the ids, 32 bits each
        for i in ids:
            digest = (digest ^ i) * 0x100000001B3 % 2**64
        with open(f"{HERE}/real_{name}_cases.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps({"novel_tokens": len(ids), "fnv1a": f"{digest:016x}"}) + "\n")


main()
