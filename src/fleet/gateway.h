/* One endpoint before many experts: the gate picks who answers, they are asked side by side, their answers become one.
 *
 *     struct gateway *g;
 *     gateway_open(&g, &options, err);
 *     gateway_place(g, 0, "http://127.0.0.1:4711", pid, 0);        expert 0 can be asked there from now on
 *     gateway_place(g, 0, NULL, 0, 1);                             … and can't any more
 *     gateway_close(g);
 *
 * A request for the gateway's own name goes the way of moe2 forward: scores of the prompt, the k best experts that are in service and
 * there, their answers combined (route/vote.h; two free texts agree when they are the same). One that fails is replaced by the
 * next in order. A request for an expert's name goes to that expert. With one expert to ask, a stream is passed on as it comes; a
 * vote is streamed when it is counted. The answer's member "moe2" says who was asked with which score and what each said and
 * took; the headers x-moe2-asked and x-moe2-expert say who was asked and whose answer it is.
 */
#ifndef MOE2_FLEET_GATEWAY_H
#define MOE2_FLEET_GATEWAY_H

#include <sys/types.h>

#include "base/err.h"
#include "route/vote.h"

enum { GATEWAY_MAX_EXPERTS = 64, GATEWAY_MAX_URL = 256 };

/* Who suits a prompt: filled in by the program, which knows embedders and gates. Called from one thread at a time. */
struct gateway_gate {
    int (*score)(void *ctx, float *scores, const char *text,
                 struct err *err); /* scores [n_experts] */
    void *ctx;
};

struct gateway_options {
    const char *name; /* of the whole as a model; borrowed, as all here */
    const char *host;
    int port; /* 0: a free one */
    int n_experts;
    const char *const *experts; /* [n_experts] names */
    const char *const *models;  /* [n_experts] what their servers call them; NULL: the same */
    uint64_t subset;            /* bit e: in service */
    int k;
    enum vote_kind combine;
    struct gateway_gate gate; /* score NULL: all equal, the lower number first */
    double timeout_s;         /* of one expert's answer */
};

struct gateway;

/* Listens from here on; nobody is there yet. Errors: those of http_server_open; MOE2_ECONFIG for k and combination that don't fit. */
int gateway_open(struct gateway **out, const struct gateway_options *o, struct err *err);
int gateway_port(const struct gateway *g);

/* Where an expert is, or that it isn't (url NULL), which process it is (0: not ours) and how often it was started again. Any thread. */
void gateway_place(struct gateway *g, int expert, const char *url, pid_t pid, int n_restarts);

void gateway_close(struct gateway *g); /* breaks off what is being answered; NULL is fine */

#endif
