/* A fleet that runs, as a YAML file: its experts, what each is, who picks, how they are combined. Lists run in parallel with `experts`.
 *
 *     struct live_config c;
 *     live_config_read(&c, "fleet.yaml", overrides, n, err);
 *     live_config_release(&c);
 */
#ifndef MOE2_FLEET_LIVE_CONFIG_H
#define MOE2_FLEET_LIVE_CONFIG_H

#include "base/buf.h"
#include "fleet/gateway.h"
#include "io/yaml.h"

enum { LIVE_TEXT, LIVE_CHOICES, LIVE_BOTH };
extern const char *const live_answers[]; /* text, choices, both, NULL */

struct live_config {
    const char *name;           /* owned by yaml, as all texts */
    struct yaml_texts experts;  /* [n] names */
    struct yaml_texts models;   /* [n] folders or files; of servers elsewhere: what they call it */
    struct yaml_texts adapters; /* [n] or [0]; "" for none */
    struct yaml_texts urls;     /* [n] or [0]: servers that run elsewhere */
    int answers;                /* LIVE_… */
    bool plain;
    int64_t threads, max_tokens, queue, context; /* of each expert */
    const char *latency, *energy;                /* curves by the experts' names; "": none */
    double pace;
    const char *gate, *features;  /* a gate's file or folder, and the embedder's; "": none */
    struct yaml_texts in_service; /* names; [0]: all */
    uint64_t subset;              /* the same as a mask */
    int64_t k;
    int combine; /* enum vote_kind */
    const char *host;
    int64_t port;
    double timeout_s;
    struct yaml_config *yaml; /* owned */
};

/* Reads and checks. Errors: those of yaml_read; MOE2_ECONFIG for lists of other lengths, a name twice, an unknown name in service. */
int live_config_read(struct live_config *c, const char *path, const char *const *overrides,
                     int n_overrides, struct err *err);
void live_config_release(struct live_config *c); /* a zeroed one is fine */

/* Appends the table of keys. */
int live_config_help(struct buf *out, struct err *err);

#endif
