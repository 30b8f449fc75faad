"""Makes tests/fixtures/choice: a small random model with a tokenizer, and what transformers thinks of options behind questions.

    python tests/golden/make_choice_golden.py

choice.jsonl has a case a line: context, options (with their delimiter), max_length, bos (id in front of the context, or -1), and what is
to come out: ll and tokens of each option, n_context. The conventions are those of lm-evaluation-harness, written here anew: text and
option encoded together, the option's tokens are those behind the context's number; blanks at the context's end go to the option;
the last max_length + 1 tokens stay; an empty context is the prefix. The model runs in float64 on the float32 weights.
"""
import json
import os
import shutil

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, DeepseekV3Config

from make_golden import SMALL, randomise

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "fixtures", "choice")
BOS = 0

LONG = "Water runs down, and what is light floats. Nobody has seen it otherwise, whatever the valley. " * 3
CASES = [
    ("Which letter is it?\nAnswer:", [" D", " a", " f", " l"], 128, -1),  # a token each: one pass for all
    (LONG + "Which letter is it?\nAnswer:", [" D", " a", " f", " l"], 20, BOS),
    ("What is 2 plus 3?\nA. 4\nB. 5\nC. 6\nD. 7\nAnswer:", [" A", " B", " C", " D"], 128, -1),
    ("What is 2 plus 3?\nA. 4\nB. 5\nC. 6\nD. 7\nAnswer:", [" A", " B", " C", " D"], 128, BOS),
    ("Question: Which animal swims?\nAnswer:", [" the fish", " a goat on the hill", " no", " perché così"], 128, -1),
    ("Question: Which animal swims?\nAnswer: ", [" the fish", " a goat"], 128, -1),  # a blank at the end
    ("Question: Which animal swims?\nAnswer: \n", ["the fish", "a goat", "1234"], 128, -1),
    ("", [" yes", " no, never"], 128, -1),  # nothing before
    (LONG + "So what does a cork do?", [" It floats.", " It sinks to the bottom."], 24, -1),  # cut at the left
    (LONG, [" A", " B"], 10, BOS),
    ("Ciò", [" è", " 你好", " 12 12 12"], 128, -1),
    ("One option of one token and one of more:", [" A", " forty four"], 128, -1),
]


def split(tok, context, option):
    blanks = len(context) - len(context.rstrip())
    if blanks:
        context, option = context[:-blanks], context[-blanks:] + option
    whole = tok.encode(context + option, add_special_tokens=False).ids
    before = tok.encode(context, add_special_tokens=False).ids
    return before, whole[len(before):]


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    shutil.copy(os.path.join(HERE, "tokenizer_smollm.json"), os.path.join(OUT, "tokenizer.json"))
    tok = Tokenizer.from_file(os.path.join(OUT, "tokenizer.json"))
    cfg = DeepseekV3Config(**dict(SMALL, vocab_size=tok.get_vocab_size(), num_hidden_layers=2, bos_token_id=BOS, eos_token_id=BOS, tie_word_embeddings=True,
                                  max_position_embeddings=512))
    cfg._attn_implementation = cfg._experts_implementation = "eager"
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(cfg)
    randomise(model, 7)
    model.to(torch.bfloat16).save_pretrained(OUT)
    if os.path.exists(os.path.join(OUT, "generation_config.json")):
        os.remove(os.path.join(OUT, "generation_config.json"))
    model = AutoModelForCausalLM.from_pretrained(OUT, dtype=torch.float32, attn_implementation="eager")
    model.config._experts_implementation = "eager"
    model = model.double().eval()
    with open(os.path.join(OUT, "choice.jsonl"), "w", encoding="utf-8") as f:
        for context, options, max_length, bos in CASES:
            lls, tokens, n_context = [], [], 0
            for option in options:
                before, after = split(tok, context, option)
                if bos >= 0:
                    before = [bos] + before
                elif not before:
                    before = [BOS]
                ids = (before + after)[-(max_length + 1):]
                with torch.no_grad():
                    p = torch.log_softmax(model(input_ids=torch.tensor([ids[:-1]]), use_cache=False).logits[0], -1)
                rows = p[-len(after):]
                lls.append(float(sum(rows[i, t] for i, t in enumerate(after))))
                tokens.append(len(after))
                n_context = len(before)
            f.write(json.dumps(dict(context=context, options=options, max_length=max_length, bos=bos, ll=lls, tokens=tokens,
                                    n_context=n_context), ensure_ascii=False) + "\n")
            print(n_context, tokens, [round(x, 3) for x in lls])


if __name__ == "__main__":
    main()
