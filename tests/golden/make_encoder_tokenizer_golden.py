"""Makes the fixtures of encoder models' tokenizers with Hugging Face's tokenizers.

    python tests/golden/make_encoder_tokenizer_golden.py        (needs: pip install tokenizers sentencepiece)

As make_tokenizer_golden.py: for each small tokenizer, trained on tokenizer_corpus.txt, encoder_NAME.json and encoder_NAME_cases.jsonl,
whose lines hold a text, its ids without and with the post-processor, and what these decode to; and bert_vocab.txt, the vocabulary of
the first as a list of lines.
"""
import io
import json
import os
import random
import tempfile
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = open(f"{HERE}/tokenizer_corpus.txt", encoding="utf-8", newline="").read()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

FIXED = ["", " ", "\n\t ", "Ciao mondo", " Perché È così?  ", "un po' d'acqua, don't do not I'm", "cafe\u0301 CAFÉ e\u0323\u0302 \u0301x", "\u1100\u1161\u11a8 가각",
         "你好，世界！ア・イーウ゛漢字", "\U00020000\uf900", "🙂👨\u200d👩\u200d👧🇮🇹👍🏽\ufe0f", "\x00\x01a\x7fb\x85c\x0bd\ufffde", "a\u200db\u00adc\ufeffd", "\u2028x\u3000y\xa0z",
         "\u0130STANBUL \u1e9e \u03a3\u03c2", "a" * 100, "a" * 101, "è" * 100, "è" * 101, "q" * 3000, "x\u302e\u0334\u302f", "\U0001d165\U0001d16d\u0323\U0001d16e",
         "[CLS] ciao [SEP] [mask][MASK]", "1234567 89 ٣٤٥ ½", "$5+3=8 <b>`~^|", "«Quanto manca?» …", "\U0010ffff\ue000\u0378", "ǅ ﬁ ㎏ ﷺ ｆｕｌｌ", "foo_bar(baz)[0]->qux;"]


def wordpiece(normalizer, **model):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", **model))
    t.normalizer, t.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece(prefix=model.get("continuing_subword_prefix", "##"))
    t.train_from_iterator([CORPUS], trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=SPECIAL, show_progress=False, continuing_subword_prefix=model.get("continuing_subword_prefix", "##")))
    return t


def bert():  # as MiniLM's, with truncation and padding, which do not count
    t = wordpiece(normalizers.BertNormalizer())
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def cased():  # everything else than usual: another prefix, short words only, no cleanup, a token of ours in normal form
    t = wordpiece(normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False),
                  continuing_subword_prefix="@", max_input_chars_per_word=12)
    t.decoder = decoders.WordPiece(prefix="@", cleanup=False)
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t


def accents():  # strip_accents without lowercase in a Sequence, RobertaProcessing, added tokens that are normalised
    t = wordpiece(normalizers.Sequence([normalizers.NFC(), normalizers.BertNormalizer(strip_accents=True, lowercase=False), normalizers.Lowercase()]))
    t.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.add_tokens([AddedToken("Perché"), AddedToken("Ciao", single_word=True), AddedToken("[R]", rstrip=True, normalized=False)])
    return t


def rules():
    """A part of nmt_nfkc as sentencepiece's normalization_rule_tsv: the whole table would be a fixture of 320 kB."""
    out = {c: "" for c in [*range(1, 9), 11, *range(14, 32), 127, 0x8F, 0x9F]}
    out |= {c: " " for c in [9, 10, 12, 13, 0x85, 0xA0, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x2581, 0x3000, 0xFEFF, 0xFFFD]}
    for c in [*range(0xC0, 0x180), *range(0x1C4, 0x1F0), *range(0x1E00, 0x1F00), *range(0x3300, 0x3400), *range(0xFB00, 0xFB07), *range(0xFF01, 0xFFA0), 0xFDFA, 0xBD]:
        if (norm := unicodedata.normalize("NFKC", chr(c))) != chr(c):
            out[c] = norm
    pairs = {(chr(c),): norm for c, norm in out.items()}
    for c in [*range(0xC0, 0x180), *range(0x1E00, 0x1F00)]:
        parts = unicodedata.normalize("NFD", chr(c))
        if len(parts) > 1:
            pairs[tuple(parts)] = chr(c)
    return "".join(" ".join(f"{ord(x):X}" for x in a) + "\t" + " ".join(f"{ord(x):X}" for x in b) + "\n" for a, b in pairs.items())


def learnt():
    """Tokens with their scores, and the compiled rules, of a small unigram model."""
    out = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as tsv:
        tsv.write(rules())
        tsv.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([line for line in CORPUS.splitlines() if line.strip()]), model_writer=out, vocab_size=500, model_type="unigram",
            normalization_rule_tsv=tsv.name, hard_vocab_limit=False, character_coverage=0.999, num_threads=1, minloglevel=2)
    m = sentencepiece_model_pb2.ModelProto()
    m.ParseFromString(out.getvalue())
    tokens = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((p.piece, p.score) for p in m.pieces[3:]), ("<mask>", 0.0)]
    return tokens, normalizers.Precompiled(m.normalizer_spec.precompiled_charsmap)


TOKENS, MAP = learnt()


def unigram(normalizer, pre_tokenizer, decoder, tokens=TOKENS, byte_fallback=False):
    t = Tokenizer(models.Unigram(tokens, 3, byte_fallback))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre_tokenizer, decoder
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    t.add_special_tokens([*(AddedToken(x, normalized=False) for x in ("<s>", "<pad>", "</s>", "<unk>")), AddedToken("<mask>", lstrip=True, normalized=False)])
    return t


def xlmr():  # XLM-R, e5, gte-multilingual
    return unigram(normalizers.Sequence([MAP, normalizers.Replace(Regex(" {2,}"), " ")]),
                   pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), decoders.Metaspace())


def first():  # as transformers converts sentencepiece models today
    return unigram(normalizers.Sequence([MAP, normalizers.Strip(False, True), normalizers.Replace(Regex(" {2,}"), "\u2581")]),
                   pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Metaspace(prepend_scheme="first"))


def fallback():  # unknown characters as bytes, nothing cut
    return unigram(normalizers.Replace("ab", "ba"), pre_tokenizers.Metaspace(prepend_scheme="never", split=False), decoders.Metaspace(prepend_scheme="never"),
                   TOKENS + [(f"<0x{i:02X}>", -5.0) for i in range(256)], True)


def nfkc():  # the normal form by Unicode's own rules
    return unigram(normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(True, True)]), pre_tokenizers.Metaspace(), decoders.Metaspace())


SMALL = dict(bert=bert, cased=cased, accents=accents, xlmr=xlmr, first=first, fallback=fallback, nfkc=nfkc)


def texts_for(t, seed, n):
    rnd = random.Random(seed)
    words = CORPUS.split() + FIXED[:30] + list(t.get_vocab())

    def piece():
        k = rnd.random()
        if k < 0.35:
            return rnd.choice(words)[:150]
        if k < 0.6:
            return rnd.choice(" \t\n\x0b\x85\xa0\u2003\u3000")
        if k < 0.8:
            return chr(rnd.randrange(33, 127))
        return chr(rnd.choice([rnd.randrange(0x80, 0x800), rnd.randrange(0x300, 0x370), rnd.randrange(0x800, 0xD800), rnd.randrange(0xE000, 0x20000)]))

    return FIXED + ["".join(piece() for _ in range(rnd.randrange(1, 9))) for _ in range(n)]


def write_cases(path, t, seed, n):
    with open(path, "w", encoding="utf-8") as f:
        for text in texts_for(t, seed, n):
            ids, special = t.encode(text, add_special_tokens=False).ids, t.encode(text).ids
            case = {"text": text, "ids": ids, "special": special, "decoded": t.decode(ids, skip_special_tokens=False)}
            f.write(json.dumps(case, ensure_ascii=True, separators=(",", ":")) + "\n")


def main():
    for i, (name, make) in enumerate(SMALL.items()):
        t = make()
        file = json.loads(t.to_str())
        if name == "bert":
            file["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
            file["padding"] = {"strategy": {"Fixed": 4}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
            vocab = sorted(t.get_vocab(), key=t.get_vocab().get)
            open(f"{HERE}/bert_vocab.txt", "w", encoding="utf-8", newline="").write("".join(w + "\n" for w in vocab))
        json.dump(file, open(f"{HERE}/encoder_{name}.json", "w", encoding="utf-8"), ensure_ascii=False, indent=0)
        write_cases(f"{HERE}/encoder_{name}_cases.jsonl", t, 200 + i, 120)


main()
