/* OUT/profile/NAME.json: what was measured of one model, and with which settings. Format: profile_models.h. */
#ifndef MOE2_PIPELINE_PROFILE_RECORD_H
#define MOE2_PIPELINE_PROFILE_RECORD_H

#include <stdbool.h>

#include "pipeline/profile_timing.h"

enum { PROFILE_DATE = 16, PROFILE_MAX_RECORD_BYTES = 64 << 20 };

struct profile_record {
    char settings[33]; /* a hash of all that has a say in the numbers */
    char machine[256]; /* "Intel(R) Xeon(R) …, 2 threads" */
    char meter[256];   /* what its joules count; "": not metered */
    char date[PROFILE_DATE];
    struct profile_answers answers;
};
void profile_record_release(struct profile_record *r); /* a zeroed one is fine */

int profile_record_write(const char *path, const struct profile_record *r, struct err *err);

/* Into a zeroed r, to be released also after an error. MOE2_EIO, MOE2_EFORMAT, MOE2_ELIMIT. */
int profile_record_read(struct profile_record *r, const char *path, struct err *err);

#endif
