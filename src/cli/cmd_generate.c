/* moe2 generate: goes on with a text, or with ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/generating.h"
#include "io/json_util.h"

struct job {
    struct generating g;
    const char *prompt, *ids_text;
    struct ids ids;
    bool json;
};

static int read_prompt(struct job *j, struct err *err)
{
    if (j->ids_text) {
        int64_t n = 0;
        int rc = cli_ids(&j->ids.v, &n, j->ids_text, err);
        j->ids.n = (size_t)n;
        return rc;
    }
    return generating_prompt(&j->ids, &j->g, j->prompt, err);
}

static int print_json(const struct job *j, const struct generated *r, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 0);
    jw_object(&w, NULL);
    if (j->g.tok)
        jw_text(&w, "text", r->text.n ? r->text.bytes : "");
    jw_array(&w, "ids");
    for (size_t i = 0; i < r->ids.n; i++)
        jw_int(&w, NULL, r->ids.v[i]);
    jw_end(&w);
    jw_text(&w, "finish", finish_name(r->finish));
    jw_int(&w, "prompt_tokens", r->n_prompt);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        puts(text.bytes);
    buf_release(&text);
    return rc;
}

static void print_ids(const struct generated *r)
{
    for (size_t i = 0; i < r->ids.n; i++)
        printf("%s%d", i ? "," : "", r->ids.v[i]);
    puts("");
}

static int work(struct job *j, struct err *err)
{
    struct generator g;
    struct generated r = {0};
    if (!j->prompt == !j->ids_text)
        return err_set(err, MOE2_ECONFIG, "wanted one of --prompt and --ids");
    int rc = generating_open(&j->g, j->prompt || j->g.tokenizer_path, err);
    if (!rc)
        rc = read_prompt(j, err);
    if (rc)
        return rc;
    generating_setup(&j->g, &g, !j->json && j->g.tok);
    rc = generate(&g, j->ids.v, (int64_t)j->ids.n, &r, err);
    if (rc)
        return rc;
    if (j->json) {
        rc = print_json(j, &r, err);
    } else {
        if (j->g.tok)
            puts("");
        else
            print_ids(&r);
        generating_report(&r);
    }
    generated_release(&r);
    return rc;
}

static int run(int argc, char **argv)
{
    struct job j = {.g = GENERATING_INIT};
    const struct cli_flag flags[] = {GENERATING_FLAGS(&j.g),
                                     {"--prompt", FLAG_TEXT, &j.prompt, false},
                                     {"--ids", FLAG_TEXT, &j.ids_text, false},
                                     {"--json", FLAG_BOOL, &j.json, false}};
    struct err err = {0};
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = work(&j, &err);
    ids_release(&j.ids);
    generating_close(&j.g);
    return rc ? cli_fail("generate", &err) : 0;
}

const struct command cmd_generate = {
    "generate",
    "a language model goes on with a text",
    "usage: moe2 generate --model M --prompt TEXT [--max-tokens N] [--temperature X] [--json]\n"
    "       moe2 generate --model M --ids 1,2,3 [--max-tokens N]\n\n"
    "Shows the text as it comes, and behind it on standard error how fast that was. --json prints "
    "{text, ids, finish, prompt_tokens} instead;\n"
    "finish is end (the model's own), stop (--stop), length or told (Ctrl-C). moe2 help generating "
    "has more.\n\n" GENERATING_HELP "  --prompt TEXT    what the text goes on from\n"
    "  --ids 1,2,3      the same as ids; no tokenizer is needed then\n\n"
    "example:\n  moe2 generate --model SmolLM2-135M-Instruct.gguf --prompt \"The capital of Italy "
    "is\" --max-tokens 20 --temperature 0\n",
    run,
};
