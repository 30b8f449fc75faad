/* The table of chat formats, and turns as ids: see chat.h. */
#include "text/chat.h"

#include <ctype.h>
#include <string.h>

enum { MAX_TURN_BYTES = 1 << 26, MAX_TOKEN_NAME = 64 };

#define HEADER(role) "\1<|start_header_id|>\1" role "\1<|end_header_id|>\1\n\n"

/* The first row that fits is taken. */
static const struct chat_format formats[] = {
    {.name = "chatml",
     .has = "<|im_start|>",
     .system_open = "\1<|im_start|>\1system\n",
     .system_close = "\1<|im_end|>\1\n",
     .user_open = "\1<|im_start|>\1user\n",
     .user_close = "\1<|im_end|>\1\n",
     .answer_open = "\1<|im_start|>\1assistant\n",
     .answer_close = "\1<|im_end|>\1\n",
     .end = "<|im_end|>"},
    {.name = "llama3",
     .has = "<|start_header_id|>",
     .bos = true,
     .trim = true,
     .system_open = HEADER("system"),
     .system_close = "\1<|eot_id|>\1",
     .user_open = HEADER("user"),
     .user_close = "\1<|eot_id|>\1",
     .answer_open = HEADER("assistant"),
     .answer_close = "\1<|eot_id|>\1",
     .end = "<|eot_id|>"},
    {.name = "deepseek_v3",
     .has = "<｜User｜>",
     .bos = true,
     .system_open = "",
     .system_close = "",
     .user_open = "\1<｜User｜>\1",
     .user_close = "",
     .answer_open = "\1<｜Assistant｜>\1",
     .answer_close = "\1<｜end▁of▁sentence｜>\1"},
    {.name = "llama2", /* [INST] is text there, and each turn has a BOS */
     .has = "<<SYS>>",
     .trim = true,
     .system_inside = true,
     .system_open = "<<SYS>>\n",
     .system_close = "\n<</SYS>>\n\n",
     .user_open = "\1<s>\1[INST] ",
     .user_close = " [/INST]",
     .answer_open = "",
     .answer_close = "\1</s>\1"},
    {.name = "mistral_v1", /* a space before [/INST] */
     .has = " [/INST]",
     .bos = true,
     .system_inside = true,
     .system_open = "",
     .system_close = "\n\n",
     .user_open = "\1[INST]\1 ",
     .user_close = " \1[/INST]\1",
     .answer_open = "",
     .answer_close = "\1</s>\1"},
    {.name = "mistral",
     .has = "[/INST]",
     .bos = true,
     .system_inside = true,
     .system_open = "",
     .system_close = "\n\n",
     .user_open = "\1[INST]\1 ",
     .user_close = "\1[/INST]\1",
     .answer_open = "",
     .answer_close = "\1</s>\1"},
};

int chat_format_find(const struct chat_format **out, const char *text, struct err *err)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strstr(text, formats[i].has)) {
            *out = &formats[i];
            return 0;
        }
    return err_set(
        err, MOE2_ECONFIG,
        "the model's chat template has none of the marks of ChatML (<|im_start|>), Llama-3 "
        "(<|start_header_id|>), Llama-2 (<<SYS>>), Mistral ([INST]) and DeepSeek-V3 (<｜User｜>)");
}

int chat_default_system(struct buf *out, const struct chat_format *f, const char *text,
                        struct err *err)
{
    static const char open[] = "<|im_start|>system";
    if (strcmp(f->name, "chatml") != 0)
        return 0;
    for (const char *p = text; (p = strstr(p, open)); p++) {
        const char *begin = p + sizeof open - 1, *end = strstr(begin, "<|im_end|>");
        if (strncmp(begin, "\\n", 2) == 0) /* a line's end as Jinja writes it, or as it is */
            begin += 2;
        else if (*begin == '\n')
            begin++;
        else
            continue;
        size_t n = strcspn(begin, "'\"{}\\");
        if (end && end > begin && begin + n >= end)
            return buf_append(out, begin, (size_t)(end - begin), err);
    }
    return 0;
}

int32_t chat_end_id(const struct chat_format *f, const struct tokenizer *t)
{
    return f->end ? tokenizer_id(t, f->end) : tokenizer_eos_id(t);
}

/* ---- turns ---- */

/* Encodes the text that waits. */
static int flush(struct chat *c, struct err *err)
{
    int rc = c->plain.n ? tokenizer_encode(c->tokenizer, NULL, c->ids, c->plain.bytes, c->plain.n,
                                           TOKENIZER_PLAIN, err)
                        : 0;
    buf_clear(&c->plain);
    return rc;
}

static int put_token(struct chat *c, const char *name, size_t n, struct err *err)
{
    char token[MAX_TOKEN_NAME];
    int32_t id = -1;
    if (n < sizeof token) {
        memcpy(token, name, n);
        token[n] = 0;
        id = tokenizer_id(c->tokenizer, token);
    }
    if (id < 0)
        return buf_append(&c->plain, name, n, err);
    int rc = flush(c, err);
    return rc ? rc : ids_append(c->ids, &id, 1, err);
}

/* A string of the table. */
static int put_frame(struct chat *c, const char *s, struct err *err)
{
    bool token = false;
    int rc = 0;
    while (*s && !rc) {
        size_t n = strcspn(s, "\1");
        rc = token ? put_token(c, s, n, err) : buf_append(&c->plain, s, n, err);
        s += n;
        if (*s == '\1') {
            token = !token;
            s++;
        }
    }
    return rc;
}

/* What was said, after: something in the same turn. */
static int put_text(struct chat *c, const char *s, bool after, struct err *err)
{
    size_t n = strlen(s);
    while (c->format->trim && !after && n && isspace((unsigned char)*s))
        s++, n--;
    while (c->format->trim && n && isspace((unsigned char)s[n - 1]))
        n--;
    return buf_append(&c->plain, s, n, err);
}

static int begin(struct chat *c, struct err *err)
{
    if (c->begun)
        return 0;
    c->begun = true;
    c->plain.max_bytes = c->waiting.max_bytes = MAX_TURN_BYTES;
    int32_t bos = c->format->bos ? tokenizer_bos_id(c->tokenizer) : -1;
    return bos >= 0 ? ids_append(c->ids, &bos, 1, err) : 0;
}

int chat_system(struct chat *c, const char *text, struct err *err)
{
    int rc = begin(c, err);
    if (rc || !text || !*text)
        return rc;
    if (c->format->system_inside)
        return buf_printf(&c->waiting, err, "%s%s%s", c->format->system_open, text,
                          c->format->system_close);
    rc = put_frame(c, c->format->system_open, err);
    if (!rc)
        rc = put_text(c, text, false, err);
    return rc ? rc : put_frame(c, c->format->system_close, err);
}

int chat_user(struct chat *c, const char *text, struct err *err)
{
    int rc = begin(c, err);
    if (!rc)
        rc = put_frame(c, c->format->user_open, err);
    if (!rc && c->waiting.n)
        rc = buf_append(&c->plain, c->waiting.bytes, c->waiting.n, err);
    if (!rc)
        rc = put_text(c, text, c->waiting.n > 0, err);
    buf_clear(&c->waiting);
    if (!rc)
        rc = put_frame(c, c->format->user_close, err);
    if (!rc)
        rc = put_frame(c, c->format->answer_open, err);
    return rc ? rc : flush(c, err);
}

int chat_answered(struct chat *c, struct err *err)
{
    return put_frame(c, c->format->answer_close, err);
}

void chat_release(struct chat *c)
{
    buf_release(&c->plain);
    buf_release(&c->waiting);
}
