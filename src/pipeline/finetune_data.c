/* Examples for fine-tuning: see finetune_data.h. */
#include "pipeline/finetune_data.h"

#include <inttypes.h>
#include <string.h>

#include "base/rng.h"
#include "io/json_util.h"
#include "io/records.h"
#include "pipeline/qa_row.h"

struct reading {
    struct examples *out;
    const struct tokenizer *tok;
    struct tokenizer_scratch *scratch;
    struct records *records;
    const char *path;
    enum answer_form form;
    struct answer_prompt asked;
    struct buf prompt, answer;
    struct ids ids;
};

static int bad_line(const struct reading *r, const char *why, struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s:%" PRId64 ": %s", r->path,
                   records_line_number(r->records), why);
}

/* prompt and answer as ids, the answer's end marked by EOS where it is asked for. */
static int add(struct reading *r, bool ends, struct err *err)
{
    int32_t eos = tokenizer_eos_id(r->tok);
    r->ids.n = 0;
    int rc = tokenizer_encode(r->tok, r->scratch, &r->ids, r->prompt.bytes, r->prompt.n,
                              TOKENIZER_SPECIAL, err);
    if (rc)
        return rc;
    if (r->ids.n && eos >= 0 && r->ids.v[r->ids.n - 1] == eos)
        r->ids.n--; /* a tokenizer that ends what it encodes */
    int64_t n_prompt = r->prompt.n ? (int64_t)r->ids.n : 0;
    rc = tokenizer_encode(r->tok, r->scratch, &r->ids, r->answer.bytes, r->answer.n, 0, err);
    if (!rc && ends && eos >= 0)
        rc = ids_append(&r->ids, &eos, 1, err);
    if (!rc && r->out->ids.n + r->ids.n > FINETUNE_MAX_TOKENS)
        rc = err_set(err, MOE2_ELIMIT, "%s: more than %d tokens of examples", r->path,
                     FINETUNE_MAX_TOKENS);
    return rc ? rc : examples_add(r->out, r->ids.v, (int64_t)r->ids.n, n_prompt, err);
}

static int put(struct buf *to, const char *text, const char *behind, struct err *err)
{
    int rc = text ? buf_puts(to, text, err) : 0;
    return rc || !text ? rc : buf_puts(to, behind, err);
}

/* A question as it will be asked (answer_set.h), with the right option behind it. */
static int read_choice(struct reading *r, const char *question, struct err *err)
{
    const char *choices = records_field(r->records, "choices", NULL),
               *answer = records_field(r->records, "answer", NULL),
               *subject = records_field(r->records, "subject", NULL), *texts[QA_MAX_CHOICES];
    json_t *list = NULL;
    if (!choices || !answer)
        return bad_line(r, "a question without choices or answer", err);
    int rc = json_read_line(&list, r->path, records_line_number(r->records), choices,
                            strlen(choices), err);
    char *end = NULL;
    long long right = strtoll(answer, &end, 10);
    size_t n = json_is_array(list) ? json_array_size(list) : 0;
    if (!rc && (n < 2 || n > QA_MAX_CHOICES || *end || right < 0 || (size_t)right >= n))
        rc = bad_line(r, "choices or answer are none of a multiple-choice question", err);
    for (size_t i = 0; i < n && !rc; i++)
        if (!(texts[i] = json_string_value(json_array_get(list, i))))
            rc = bad_line(r, "a choice is no text", err);
    const struct answer_question q = {.subject = subject ? subject : "",
                                      .question = question,
                                      .context = records_field(r->records, "context", NULL),
                                      .choices = texts,
                                      .n_choices = (int)n,
                                      .answer = (int)right};
    if (!rc)
        rc = answer_prompt_make(&r->asked, &q, &(struct answer_form_options){.form = r->form}, err);
    if (!rc)
        rc = buf_puts(&r->prompt, r->asked.context.bytes, err);
    if (!rc)
        rc = buf_puts(&r->answer, r->asked.options[right], err);
    json_decref(list);
    return rc ? rc : add(r, r->form == ANSWER_TEXT, err);
}

static int read_record(struct reading *r, struct err *err)
{
    const struct records *rec = r->records;
    const char *prompt = records_field(rec, "prompt", NULL),
               *completion = records_field(rec, "completion", NULL),
               *instruction = records_field(rec, "instruction", NULL),
               *output = records_field(rec, "output", NULL),
               *question = records_field(rec, "question", NULL),
               *text = records_field(rec, "text", NULL);
    buf_clear(&r->prompt);
    buf_clear(&r->answer);
    int rc = buf_puts(&r->prompt, "", err);
    if (question && !completion && !output)
        return rc ? rc : read_choice(r, question, err);
    if (!rc && prompt && completion) {
        rc = buf_puts(&r->prompt, prompt, err);
        text = completion;
    } else if (!rc && instruction && output) {
        const char *input = records_field(rec, "input", NULL);
        rc = put(&r->prompt, instruction, "\n\n", err);
        if (!rc && input && *input)
            rc = put(&r->prompt, input, "\n\n", err);
        text = output;
    } else if (!rc && !text) {
        rc = bad_line(
            r, "has none of prompt and completion, instruction and output, question, text", err);
    }
    if (!rc)
        rc = buf_puts(&r->answer, text, err);
    return rc ? rc : add(r, true, err);
}

int finetune_examples_read(struct examples *out, const char *path, const struct tokenizer *tok,
                           enum answer_form form, struct err *err)
{
    struct reading r = {.out = out, .tok = tok, .path = path, .form = form};
    bool got = true;
    int rc =
        records_open(&r.records, path,
                     &(struct records_options){.max_record_bytes = FINETUNE_MAX_LINE_BYTES}, err);
    if (!rc)
        rc = tokenizer_scratch_new(&r.scratch, tok, err);
    while (!rc && !(rc = records_next(r.records, &got, err)) && got)
        rc = read_record(&r, err);
    if (!rc && !out->n)
        rc = err_set(err, MOE2_EFORMAT, "%s: holds no examples", path);
    ids_release(&r.ids);
    answer_prompt_release(&r.asked);
    buf_release(&r.prompt);
    buf_release(&r.answer);
    tokenizer_scratch_free(r.scratch);
    records_close(r.records);
    return rc;
}

int finetune_hold_out(struct examples *all, struct examples *held_out, uint64_t seed,
                      struct err *err)
{
    enum { ONE_IN = 20 };
    struct examples train = {0};
    int rc = 0;
    if (all->n < 2)
        return err_set(err, MOE2_ECONFIG,
                       "%" PRId64 " example, wanted two at least: one is for validation", all->n);
    int64_t shift = (int64_t)(rng_at(seed, 0, 0, 0) % ONE_IN);
    shift = shift < all->n ? shift : all->n - 1;
    for (int64_t i = 0; i < all->n && !rc; i++) {
        int64_t begin = i ? all->end[i - 1] : 0;
        rc = examples_add(i % ONE_IN == shift ? held_out : &train, all->ids.v + begin,
                          all->end[i] - begin, all->n_prompt[i], err);
    }
    if (rc) {
        examples_release(&train);
        return rc;
    }
    examples_release(all);
    *all = train;
    return 0;
}
