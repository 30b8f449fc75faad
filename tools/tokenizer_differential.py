"""Random strings through moe2 tokenize and through Hugging Face's tokenizers: ids must be equal.

    python tools/tokenizer_differential.py MOE2 TOKENIZER [N] [SEED]        (needs: pip install tokenizers)

TOKENIZER is a tokenizer.json or a folder with one. Strings mix words of the vocabulary, ASCII, accents that combine, Chinese, Hangul,
emoji joined by ZWJ, control characters and any code point at all. Prints the strings that differ, at most ten, and how many agree.
"""
import json
import os
import random
import subprocess
import sys

from tokenizers import Tokenizer

BITS = ["don't", " ", "  ", "\n", "\t", "\r\n", "\x00", "\x0b", "\x85", "\xa0", "\u2028", "\u3000", "\ufeff", "\u200d", "\ufe0f", "\ufffd",
        "e\u0301", "\u0345\u0316", "\u302e\u0334", "\U0001d165\U0001d16d", "\u0130I\u0131", "\u01c5\u1e9e\u03a3", "\ufb01\ufdfa", "½²", "가각",
        "\u1100\u1161\u11a8", "你好世界", "\U00020000", "👨‍👩‍👧🇮🇹", "👍🏽", "ｆｕｌｌ", "ア゛ｶﾞ", "한국", "क्षि", "…", "a" * 120, "x" * 99 + "é", "1234", "[CLS]", "<s>",
        "\u2581", "\u2581\u2581a", "e\u0301\u0327", "ａ\u0301", "A\u030a"]
SPANS = [(0, 0x80), (0x80, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0xE00), (0x1AB0, 0x1DFF), (0x1E00, 0x2100), (0x2100, 0x3000), (0x3000, 0x3400),
         (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xF900, 0x10000), (0x1D000, 0x1D200), (0x1E000, 0x20000), (0x80, 0x110000)]


def text_of(rnd, words):
    def piece():
        k = rnd.random()
        if k < 0.3:
            return rnd.choice(words)
        if k < 0.45:
            return " "
        if k < 0.7:
            return rnd.choice(BITS)
        c = rnd.randrange(*rnd.choice(SPANS))
        return " " if 0xD800 <= c < 0xE000 else chr(c)

    return "".join(piece() for _ in range(rnd.randrange(1, 12)))


def main():
    moe2, path = sys.argv[1:3]
    n, rnd = int((sys.argv[3:] or ["100000"])[0]), random.Random(int((sys.argv[4:] or ["1"])[0]))
    theirs = Tokenizer.from_file(os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path)
    theirs.no_padding()
    theirs.no_truncation()
    words = sorted(w for w in theirs.get_vocab() if w.isprintable())
    texts = [text_of(rnd, words) for _ in range(n)]
    lines = "".join(json.dumps(t) + "\n" for t in texts)
    ours = subprocess.run([moe2, "tokenize", "--tokenizer", path, "--json-lines", "--special"], input=lines, text=True, capture_output=True, check=True)
    got = [json.loads(line) for line in ours.stdout.splitlines()]
    assert len(got) == n
    n_same = shown = 0
    for text, ids in zip(texts, got):
        wanted = theirs.encode(text).ids
        n_same += wanted == ids
        if wanted != ids and shown < 10:
            shown += 1
            print(f"{text!a}\n  ours   {ids}\n  theirs {wanted}")
    print(f"{n_same} of {n} texts have the same ids")
    return n_same != n


sys.exit(main())
