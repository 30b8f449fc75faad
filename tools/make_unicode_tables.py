"""Writes src/text/unicode_tables.c: what Hugging Face's tokenizers believes about every code point.

    python tools/make_unicode_tables.py > src/text/unicode_tables.c        (needs: pip install tokenizers, and perl)

The facts are asked of the library itself, so that ours can be equal to it, whatever the Unicode version of each of its parts is:
general categories L, N, P, S, M and white space of its regular expressions (Oniguruma), \\w of Rust's regex crate (single_word),
char::is_numeric of Rust (Digits). Its NFC knows Unicode 9.0 and leaves younger characters alone: their list is Perl's
\\p{In=9.0}, and which of the older ones can change under NFC is Python's unicodedata.
"""
import subprocess
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, __version__, models, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def regex_set(pattern):
    """Every code point that pattern matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    out = set()
    for at in range(0, len(CODE_POINTS), 4096):
        chunk = CODE_POINTS[at : at + 4096]
        kept = {ord(c) for piece, _ in split.pre_tokenize_str("".join(map(chr, chunk))) for c in piece}
        out |= set(chunk) - kept
    return out


def numeric_set():
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODE_POINTS if len(digits.pre_tokenize_str("a" + chr(c) + "a")) == 3}


def word_set():
    t = Tokenizer(models.BPE())
    t.add_tokens([AddedToken("@@", single_word=True, normalized=False)])
    return {c for c in CODE_POINTS if not t.encode(chr(c) + "@@").ids}


def nfc_known_set():
    code = "for my $c (0..0x10ffff) { next if $c >= 0xd800 && $c < 0xe000; print \"$c\\n\" if chr($c) =~ /\\p{In=9.0}/ }"
    return set(map(int, subprocess.run(["perl", "-e", code], check=True, capture_output=True).stdout.split()))


def nfc_slow_set(known):
    """Known code points that can change, or be reordered, under NFC."""
    nfc = normalizers.NFC()
    slow = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    for c in known:
        ch = chr(c)
        if unicodedata.combining(ch) or nfc.normalize_str(ch) != ch:
            slow.add(c)
        parts = unicodedata.decomposition(ch).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            slow.add(int(parts[1], 16))
    return slow & known


def print_array(name, values, width):
    print(f"\nconst uint32_t {name}[] = {{")
    line = "   "
    for v in values:
        word = f" 0x{v:0{width}x},"
        if len(line) + len(word) > 100:
            print(line)
            line = "   "
        line += word
    print(line + "\n};")
    print(f"const int n_{name} = {len(values)};")


def toggles(members):
    """The code points at which membership changes, starting outside."""
    out, inside = [], False
    for c in range(0x110000):
        if (c in members) != inside:
            inside = not inside
            out.append(c)
    return out


def main():
    known = nfc_known_set()
    sets = [regex_set(p) for p in (r"\p{L}", r"\p{N}", r"\p{P}", r"\p{S}", r"\p{M}", r"\s")]
    sets += [nfc_slow_set(known), known]
    runs, last = [], 0
    for c in range(0x110000):
        bits = sum(1 << i for i, members in enumerate(sets) if c in members)
        if bits != last:
            runs.append(c << 8 | bits)
            last = bits
    print(f"""/* Made by tools/make_unicode_tables.py from tokenizers {__version__}: don't edit. See unicode.h.
 *
 * unicode_runs: code point << 8 | bits that hold from there to the next entry (UNICODE_L … UNICODE_NFC_KNOWN), in increasing
 * order; before the first entry no bit is set. unicode_word and unicode_numeric: the code points at which membership changes. */
#include "text/unicode.h"
""", end="")
    print_array("unicode_runs", runs, 8)
    print_array("unicode_word", toggles(word_set()), 5)
    print_array("unicode_numeric", toggles(numeric_set()), 5)


sys.exit(main())
