/* The engine behind moe2 serve: a model that goes on with texts, talks, or chooses, as fleet/engine.h wants it. */
#ifndef MOE2_CLI_EXPERT_ENGINE_H
#define MOE2_CLI_EXPERT_ENGINE_H

#include "cli/generating.h"
#include "fleet/engine.h"
#include "pipeline/answer_model.h"
#include "text/chat.h"

enum { ANSWERS_TEXT = 1, ANSWERS_CHOICES = 2, ANSWERS_BOTH = 3 };

struct expert_engine {
    struct generating g; /* flags filled by the caller */
    const char
        *adapter; /* a folder of PEFT's on the model: it then answers choices only; NULL: none */
    bool plain;   /* no chat template: contents as they are */
    int answers;  /* ANSWERS_…: what is opened */
    const struct chat_format *format; /* NULL: plain */
    struct buf system;                /* what a template falls back to */
    struct answer_model scorer;
    uint64_t n_answered;
};

/* Opens what `answers` asks for; the caller closes it, whatever came out. A model without a chat template is plain. */
int expert_engine_open(struct expert_engine *e, struct err *err);
void expert_engine_close(struct expert_engine *e);

/* It as a table of functions; e is borrowed. */
struct engine expert_engine_table(struct expert_engine *e);

#endif
