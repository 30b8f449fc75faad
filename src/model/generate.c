/* The loop of generation: see generate.h. Text that may be the beginning of a stop string is held back until it is known. */
#include "model/generate.h"

#include <stdlib.h>
#include <string.h>

const char *finish_name(enum finish f)
{
    static const char *const names[] = {"end", "stop", "length", "told"};
    return names[f];
}

void generated_release(struct generated *g)
{
    ids_release(&g->ids);
    buf_release(&g->text);
}

static bool is_end(const struct generator *g, int32_t id)
{
    for (int i = 0; i < g->n_ends; i++)
        if (g->ends[i] == id)
            return true;
    return false;
}

/* The first stop string in text from byte `from` on: where it begins, or −1. */
static int64_t find_stop(const struct generator *g, const struct buf *text, size_t from)
{
    int64_t first = -1;
    for (int i = 0; i < g->n_stops; i++) {
        size_t n = strlen(g->stops[i]);
        const char *at = n && text->n >= from + n
                             ? memmem(text->bytes + from, text->n - from, g->stops[i], n)
                             : NULL;
        if (at && (first < 0 || at - text->bytes < first))
            first = at - text->bytes;
    }
    return first;
}

/* How many bytes at the end of text could be the beginning of a stop string. */
static size_t held_back(const struct generator *g, const struct buf *text)
{
    size_t most = 0;
    for (int i = 0; i < g->n_stops; i++)
        for (size_t n = strlen(g->stops[i]); n-- > most + 1;)
            if (n <= text->n && memcmp(text->bytes + text->n - n, g->stops[i], n) == 0)
                most = n;
    return most;
}

struct shown {
    struct token_stream stream;
    size_t n; /* bytes of the text that were shown */
};

/* Shows what is new of the text. True when a stop string is in it, which is cut off. */
static bool show(const struct generator *g, struct shown *s, struct buf *text, bool last)
{
    int64_t stop = find_stop(g, text, s->n);
    if (stop >= 0) {
        text->n = (size_t)stop;
        text->bytes[text->n] = 0;
    }
    size_t until = text->n - (stop >= 0 || last ? 0 : held_back(g, text));
    if (g->show && until > s->n)
        g->show(g->ctx, text->bytes + s->n, until - s->n);
    s->n = until > s->n ? until : s->n;
    return stop >= 0;
}

static int decode(const struct generator *g, float *logits, struct generated *out,
                  struct shown *shown, struct err *err)
{
    for (;;) {
        int32_t id;
        if ((int64_t)out->ids.n >= g->max_tokens) {
            out->finish = FINISH_LENGTH;
            return 0;
        }
        if (g->stop_flag && *g->stop_flag) {
            out->finish = FINISH_TOLD;
            return 0;
        }
        int rc = sampler_pick(&id, g->sampler, logits, err);
        if (rc)
            return rc;
        if (is_end(g, id)) {
            out->finish = FINISH_END;
            return 0;
        }
        rc = ids_append(&out->ids, &id, 1, err);
        if (!rc && g->tokenizer) {
            rc = token_stream_put(&shown->stream, &out->text, id, err);
            if (!rc && show(g, shown, &out->text, false)) {
                out->finish = FINISH_STOP;
                return 0;
            }
        }
        if (rc)
            return rc;
        if ((int64_t)out->ids.n >= g->max_tokens ||
            session_length(g->session) == session_capacity(g->session)) {
            out->finish = FINISH_LENGTH;
            return 0;
        }
        rc = session_forward(g->session, &id, 1, logits, 1, err);
        if (rc)
            return rc;
    }
}

int generate(const struct generator *g, const int32_t *ids, int64_t n, struct generated *out,
             struct err *err)
{
    int64_t V = session_config(g->session)->vocab_size;
    struct shown shown = {0};
    *out = (struct generated){.n_prompt = n};
    if (n < 1)
        return err_set(err, MOE2_ECONFIG, "the prompt has no tokens, wanted at least one");
    float *logits = malloc((size_t)V * sizeof *logits);
    if (!logits)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld logits", (long long)V);
    if (g->tokenizer)
        token_stream_init(&shown.stream, g->tokenizer, TOKENIZER_SKIP_SPECIAL);
    double begun_s = clock_s();
    int rc = session_forward(g->session, ids, n, logits, 1, err);
    double decode_s = clock_s();
    sampler_see(g->sampler, ids, n);
    if (!rc)
        rc = decode(g, logits, out, &shown, err);
    if (!rc && g->tokenizer && out->finish != FINISH_STOP) {
        rc = token_stream_end(&shown.stream, &out->text, err);
        if (!rc && show(g, &shown, &out->text, true))
            out->finish = FINISH_STOP;
    }
    out->prompt_s = decode_s - begun_s;
    out->decode_s = clock_s() - decode_s;
    free(logits);
    if (rc)
        generated_release(out);
    return rc;
}
