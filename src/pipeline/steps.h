/* The step runner: steps in their order, each with what it reads, what it makes and what it depends on. A step that is done is
 * not done again unless one of these changed; an interrupted row of steps goes on where it was.
 *
 *     struct steps_options o = {.steps = table, .n_steps = n, .ctx = &mine, .manifest = "out/pipeline.json"};
 *     struct steps_report report;
 *     steps_run(&report, &o, err);
 *     steps_report_release(&report);
 *
 * A step's key is a hash over its name, the configuration it declares and the bytes of its inputs. The manifest keeps, for each
 * step that came to its end, the key and the hash of each output. A step is done when the key is the same and all outputs
 * lie there unchanged. The manifest is replaced as a whole after every step, so that a kill costs at most the step that ran.
 */
#ifndef MOE2_PIPELINE_STEPS_H
#define MOE2_PIPELINE_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

enum {
    STEPS_MAX = 64,
    STEP_MAX_FILES = 256, /* inputs, and outputs, of a step */
    STEPS_MAX_MANIFEST_BYTES = 16 << 20,
};

/* What a step says of itself. Paths are borrowed until steps_run returns: of the arena, say. */
struct step_needs {
    struct arena *arena;
    const char *inputs[STEP_MAX_FILES], *outputs[STEP_MAX_FILES];
    int n_inputs, n_outputs;
    struct buf config; /* the configuration it depends on, in any words */
};

/* Appends; MOE2_ELIMIT beyond STEP_MAX_FILES. path NULL is the error of whoever made it. */
int step_input(struct step_needs *n, const char *path, struct err *err);
int step_output(struct step_needs *n, const char *path, struct err *err);

struct step {
    const char *name, *summary;
    const char *
        left_out; /* why the step has nothing to do here; NULL: it has. Such a step is passed over, and said so */
    int (*declare)(struct step_needs *needs, void *ctx, struct err *err);
    int (*run)(struct buf *said, void *ctx, struct err *err); /* said: one line on what came out */
};

enum step_state {
    STEP_DONE,     /* nothing to do */
    STEP_RAN,      /* just now */
    STEP_TODO,     /* never came to its end, or something changed: reason says what */
    STEP_WAITS,    /* for a step before it that is to be done */
    STEP_LEFT_OUT, /* reason says why */
    STEP_PASSED,   /* before --from or behind --to */
};
const char *step_state_name(enum step_state state);

struct step_result {
    enum step_state state;
    char reason[160];
    char *said;       /* of this run or the one that made it; owned; NULL: nothing */
    double seconds;   /* of the same */
    int64_t finished; /* seconds since 1970; 0: never */
};

struct steps_report {
    struct step_result results[STEPS_MAX]; /* [n_steps] */
    int n_steps;
    int n_ran;
};

struct steps_options {
    const struct step *steps;
    int n_steps;
    void *ctx;             /* for declare and run */
    const char *manifest;  /* its path; the folder is made */
    const char *from, *to; /* names, both included; NULL: the first, the last */
    const char *force;     /* the name of a step that is done again anyway; NULL: none */
    bool status;           /* look, and do nothing */
    const char *note;      /* kept in the manifest: what must be said of everything here; or NULL */
    const struct log_sink *sink;
    const volatile int *stop; /* not 0: MOE2_ESTOP before the next step; or NULL */
};

/* Errors: MOE2_ECONFIG for an unknown step (with the nearest), or from behind to; MOE2_EIO for an input that is not there; those of
 * the steps, with the step's name before them. report is filled as far as it came, also after errors; release it. */
int steps_run(struct steps_report *report, const struct steps_options *options, struct err *err);
void steps_report_release(struct steps_report *report); /* a zeroed one is fine */

#endif
