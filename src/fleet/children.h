/* Processes of ours that must stay up: servers, one an expert.
 *
 *     struct children *c;
 *     children_new(&c, n, changed, ctx, sink, err);
 *     children_start(c, i, argv, err);                  for each; argv is borrowed until children_free
 *     while (…) children_tick(c, err);                  a few times a second
 *     children_free(c);                                 SIGTERM to all, SIGKILL to whoever is still there after CHILD_GRACE_S
 *
 * A child says "… listens on URL" on its standard output once it is ready. One that ends after that
 * is started again, at once the first time, then after pauses that double up to CHILD_MAX_PAUSE_S,
 * and so is one that could not be started again; one that ends before it was ever ready is an error:
 * it would end again. One that does not answer GET URL/health CHILD_MAX_DEAF times is killed, and so
 * started again.
 */
#ifndef MOE2_FLEET_CHILDREN_H
#define MOE2_FLEET_CHILDREN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/log.h"

enum {
    CHILD_GRACE_S = 5,
    CHILD_MAX_PAUSE_S = 15,
    CHILD_STEADY_S = 60, /* after so long the pauses begin anew */
    CHILD_HEALTH_S = 5,  /* between two looks, and for one */
    CHILD_MAX_DEAF = 3,
};

struct children;

/* Told of whoever becomes ready (url) or is gone (NULL), from children_tick. */
typedef void child_changed(void *ctx, int i, const char *url, pid_t pid, int n_restarts);

int children_new(struct children **out, int n, child_changed *changed, void *ctx,
                 const struct log_sink *sink, struct err *err);

/* name is for messages, borrowed as argv. MOE2_EIO when it can't be run. */
int children_start(struct children *c, int i, const char *name, char *const *argv, struct err *err);

/* Looks at all once. MOE2_EIO when one ended before it was ever ready; then the others still run. */
int children_tick(struct children *c, struct err *err);

bool children_all_ready(const struct children *c);
void children_free(struct children *c); /* NULL is fine */

#endif
