/* moe2 data italian: text to train on that needs no download of ours. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/data_report.h"
#include "pipeline/text_debian.h"

enum { GRAMMAR_BYTES = 6400000 };

static const char HELP[] =
    "usage: moe2 data italian --out DIR [--text FILE|DIR | --grammar] [options]\n\n"
    "Packs Italian text as moe2 data text does. The text is, in this order:\n"
    "  1. what --text names;\n"
    "  2. the Italian documentation in Debian's own archive (libreoffice-help-it, manpages-it,\n"
    "     debian-reference-it, aptitude-doc-it, developers-reference-it), fetched by apt-get "
    "download\n"
    "     and unpacked without root into --cache; their versions are in the manifest;\n"
    "  3. where no mirror answers, or with --grammar: sentences of a seeded grammar of ours. That "
    "is\n"
    "     no real text, and the output and the manifest say so.\n\n"
    "  --out DIR                 the packed folder\n"
    "  --cache DIR               where packages are kept (OUT.debs)\n"
    "  --text FILE|DIR           use this text instead\n"
    "  --grammar                 make text by the grammar\n"
    "Defaults differ from moe2 data text: --language it, --unique-lines, --vocab-size 4096 unless\n"
    "--tokenizer is given.\n\n" DATA_TEXT_HELP "\nexamples:\n"
    "  moe2 data italian --out data/italian\n"
    "  moe2 data italian --out data/italian --text book.txt --vocab-size 2048 --force\n";

struct italian {
    const char *out_dir, *cache_dir, *text;
    bool grammar;
};

/* The inputs, and a note when they are no real text. */
static int choose_inputs(struct text_debian *debian, char note[600], const struct italian *w,
                         const struct text_step *step, struct err *err)
{
    if (w->text) {
        debian->inputs[0] = (struct text_input){.path = w->text};
        return 1;
    }
    struct err why = {0};
    char *cache = NULL;
    if (asprintf(&cache, "%s%s", w->cache_dir ? w->cache_dir : w->out_dir,
                 w->cache_dir ? "" : ".debs") < 0)
        return err_set(err, MOE2_ELIMIT, "no memory for a name");
    int rc = w->grammar ? 0 : text_debian_fetch(debian, cache, step->sink, step->stream.stop, &why);
    free(cache);
    if (rc && rc != MOE2_EIO)
        return err_set(err, rc, "%s", why.msg);
    if (!rc && !w->grammar) {
        if (debian->missing[0])
            snprintf(note, 600, "not to be had: %s", debian->missing);
        return debian->n_inputs;
    }
    if (rc)
        snprintf(note, 600,
                 "NOT REAL TEXT: no Debian mirror answered (%.300s); this is text of moe2's seeded "
                 "grammar. Give --text FILE for real text.",
                 why.msg);
    else
        snprintf(note, 600, "NOT REAL TEXT: sentences of moe2's seeded grammar, as asked for.");
    log_line(step->sink, LOG_WARN, "%s", note);
    debian->inputs[0] = (struct text_input){.grammar_bytes = GRAMMAR_BYTES};
    return 1;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct data_text_words words;
    struct italian w = {0};
    struct cli_flag flags[DATA_TEXT_N_FLAGS + 4];
    data_text_flags(flags, &words);
    struct cli_flag *own = flags + DATA_TEXT_N_FLAGS;
    own[0] = (struct cli_flag){"--out", FLAG_TEXT, &w.out_dir, true};
    own[1] = (struct cli_flag){"--cache", FLAG_TEXT, &w.cache_dir, false};
    own[2] = (struct cli_flag){"--text", FLAG_TEXT, &w.text, false};
    own[3] = (struct cli_flag){"--grammar", FLAG_BOOL, &w.grammar, false};
    words.language = "it";
    words.unique_lines = true;
    words.tokenizer = NULL;
    if (cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err))
        return cli_fail("data italian", &err);
    if (!words.tokenizer && !words.vocab_size)
        words.vocab_size = 4096;
    if (!words.tokenizer)
        words.tokenizer = "bytes";
    struct text_step step;
    struct text_report report;
    struct text_debian debian = {0};
    char note[600] = "";
    int rc = data_text_step(&step, &words, &err);
    int n_inputs = rc ? rc : choose_inputs(&debian, note, &w, &step, &err);
    rc = n_inputs < 0 ? n_inputs : 0;
    if (!rc) {
        step.inputs = debian.inputs;
        step.n_inputs = n_inputs;
        step.out_dir = w.out_dir;
        rc = text_step_run(&report, &step, &err);
    }
    if (!rc)
        rc = data_text_print(&report, &step, note[0] ? note : NULL, words.json, &err);
    text_debian_release(&debian);
    return rc ? cli_fail("data italian", &err) : 0;
}

const struct command cmd_data_italian = {
    "data italian",
    "packs Italian text that needs no download of ours",
    HELP,
    run,
};
