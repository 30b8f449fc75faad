/* libmoe2: everything a program may use. The command line tool moe2 can do more than the library promises: only what these headers say
 * stays as it is from one version to the next.
 */
#ifndef MOE2_H
#define MOE2_H

#include <moe2/err.h>
#include <moe2/model.h>
#include <moe2/tokenizer.h>

#endif
