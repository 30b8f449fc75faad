"""Writes src/text/bert_tables.c: what the normalizer and pre-tokenizer of BERT think of every code point.

    python tools/make_bert_tables.py > src/text/bert_tables.c        (needs: pip install tokenizers)

The facts are asked of Hugging Face's tokenizers itself, one code point at a time, so that ours are equal to it whatever the Unicode
version of each of its parts is; see make_unicode_tables.py, whose tables these stand beside.
"""
from tokenizers import __version__, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def bert(**on):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **on}).normalize_str


def normalizer_sets(nfd):
    """Removed by clean_text, set in spaces as Chinese, dropped as accents once decomposed."""
    clean, chinese, strip = bert(clean_text=True), bert(handle_chinese_chars=True), bert(strip_accents=True)
    removed = {c for c in CODE_POINTS if clean(chr(c)) == ""}
    han = {c for c in CODE_POINTS if chinese(chr(c)) != chr(c)}
    mark = {c for c in CODE_POINTS if nfd(chr(c)) == chr(c) and strip(chr(c)) == ""}
    return removed, han, mark


def cut_sets():
    """White space and punctuation of BertPreTokenizer."""
    cut = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    n = {c: len(cut("a" + chr(c) + "a")) for c in CODE_POINTS}
    return {c for c in n if n[c] == 2}, {c for c in n if n[c] == 3}


def moves(nfd, c):
    """Whether canonical ordering moves c past a mark of the highest or the lowest class."""
    high, low = "\u0345", "\u0334"
    return nfd(high + chr(c)) == chr(c) + high or nfd(chr(c) + low) == low + chr(c)


def lower_rows(lower):
    """(first, last, step, delta) of the code points whose lower case is one other code point."""
    rows = []
    for c in sorted(lower):
        delta = lower[c] - c
        if rows and rows[-1][3] == delta:
            first, last, step, _ = rows[-1]
            if c - last <= 2 and step in (0, c - last):
                rows[-1] = (first, c, c - last, delta)
                continue
        rows.append((c, c, 0, delta))
    return [(first, last, step or 1, delta) for first, last, step, delta in rows]


def print_words(words):
    line = "   "
    for word in words:
        if len(line) + len(word) > 98:
            print(line)
            line = "   "
        line += f" {word},"
    print(line + "\n};")


def main():
    nfd, lower = normalizers.NFD().normalize_str, bert(lowercase=True)
    removed, han, mark = normalizer_sets(nfd)
    space, punct = cut_sets()
    lowered = {c: lower(chr(c)) for c in CODE_POINTS if lower(chr(c)) != chr(c)}
    split = {c for c in CODE_POINTS if nfd(chr(c)) != chr(c)}
    moved = {c for c in CODE_POINTS if c not in mark and c not in split and moves(nfd, c)}
    assert [c for c in lowered if len(lowered[c]) > 1] == [0x130]  # bert.c writes its two code points itself
    sets = [removed, space, han, mark, punct, set(lowered), split, moved]
    runs, last = [], 0
    for c in range(0x110000):
        bits = sum(1 << i for i, members in enumerate(sets) if c in members)
        if bits != last:
            runs.append(f"0x{c << 8 | bits:08x}")
            last = bits
    rows = lower_rows({c: ord(to) for c, to in lowered.items() if c != 0x130})
    print(f"""/* Made by tools/make_bert_tables.py from tokenizers {__version__}: don't edit. See bert.h.
 *
 * bert_runs: code point << 8 | bits that hold from there to the next entry (BERT_REMOVED …
 * BERT_MOVES). bert_lower: code points first, first + step … last have the lower case + delta. */
#include "text/bert.h"

const uint32_t bert_runs[] = {{""")
    print_words(runs)
    print(f"const int n_bert_runs = {len(runs)};\n\nconst struct bert_lower bert_lower[] = {{")
    print_words(["{0x%05x, 0x%05x, %d, %d}" % row for row in rows])
    print(f"const int n_bert_lower = {len(rows)};")


main()
