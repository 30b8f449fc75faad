/* Italian text that any Debian machine can have: the documentation packages of its own archive,
 * fetched by apt-get and unpacked by dpkg-deb, without root and without touching the system.
 *
 * A folder keeps what was fetched: PACKAGE_VERSION_all.deb files and unpacked/PACKAGE/. What is there is
 * not fetched again. Where the machine's own package lists don't know a package (or there are none),
 * lists are fetched into that folder.
 */
#ifndef MOE2_PIPELINE_TEXT_DEBIAN_H
#define MOE2_PIPELINE_TEXT_DEBIAN_H

#include "base/err.h"
#include "base/log.h"
#include "pipeline/text_source.h"

enum { TEXT_DEBIAN_PACKAGES = 5 };

struct text_debian {
    struct text_input inputs[TEXT_DEBIAN_PACKAGES]; /* their strings belong to this struct */
    int n_inputs;                                   /* packages that could be had */
    char missing[256];                              /* the names of the others, or "" */
};

/* Fetches and unpacks into cache_dir. At least one package came, or MOE2_EIO with what apt-get said;
 * MOE2_ESTOP. Released by text_debian_release. */
int text_debian_fetch(struct text_debian *out, const char *cache_dir, const struct log_sink *sink,
                      const volatile int *stop, struct err *err);
void text_debian_release(struct text_debian *d); /* a zeroed one is fine */

#endif
