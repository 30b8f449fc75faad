/* Chat formats: how turns of a conversation are written for a model, as ids.
 *
 * A model's chat template is a Jinja program; moe2 doesn't run it but recognises it by a marker and
 * writes the same ids from a table (chat.c). What a person or a system prompt says is text like any
 * other: "<|im_end|>" typed by a user never becomes that token.
 *
 *     const struct chat_format *f;
 *     chat_format_find(&f, template_text, &err);           MOE2_ECONFIG: nothing that it knows
 *     struct chat c = {.format = f, .tokenizer = tok, .ids = &ids};
 *     chat_system(&c, "Answer in Italian.", &err);         once, first; NULL or "": none
 *     chat_user(&c, "Ciao!", &err);                        … up to where the answer begins
 *     (generate; append its ids)
 *     chat_answered(&c, &err);                             closes the answer; then chat_user again
 *
 * Sources: the templates of Qwen2.5, SmolLM2 (ChatML), Llama-3, Mistral-7B-Instruct v0.1 to v0.3, Llama-2 and DeepSeek-V3.
 */
#ifndef MOE2_TEXT_CHAT_H
#define MOE2_TEXT_CHAT_H

#include "base/buf.h"
#include "text/tokenizer.h"

/* Strings name special tokens between '\1's: "\1<|im_start|>\1user\n". A tokenizer without the token reads its name as text. */
struct chat_format {
    const char *name;   /* "chatml" */
    const char *has;    /* what a template says */
    bool bos;           /* a conversation begins with BOS */
    bool trim;          /* turns lose white space around them */
    bool system_inside; /* the system prompt stands before the first user's words, in their turn */
    const char *system_open, *system_close;
    const char *user_open, *user_close, *answer_open, *answer_close;
    const char *end; /* the token that ends an answer; NULL: EOS */
};

struct chat {
    const struct chat_format *format;
    const struct tokenizer *tokenizer;
    struct ids *ids;    /* the caller's: ids are appended */
    struct buf plain;   /* text that is not encoded yet; chat_release */
    struct buf waiting; /* a system prompt that waits for the first user */
    bool begun;
};

/* The format of a chat template's text. MOE2_ECONFIG names the formats that are known. */
int chat_format_find(const struct chat_format **out, const char *template_text, struct err *err);

/* The system prompt that a ChatML template falls back to, appended to out; nothing if it has none. */
int chat_default_system(struct buf *out, const struct chat_format *f, const char *template_text,
                        struct err *err);

int chat_system(struct chat *c, const char *text, struct err *err);
int chat_user(struct chat *c, const char *text, struct err *err);
int chat_answered(struct chat *c, struct err *err);
void chat_release(struct chat *c);

/* The id that ends an answer, −1 if the tokenizer has none. */
int32_t chat_end_id(const struct chat_format *f, const struct tokenizer *t);

#endif
